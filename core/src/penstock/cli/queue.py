"""`penstock queue`: publishes to the queues of a configuration, and looks at them, without joining a group."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from penstock.cli.configured import configuration_of
from penstock.errors import ConfigError, NotConnected, delay_problem
from penstock.observability.printable import one_line
from penstock.operations import open as open_queue
from penstock.operations.peek import as_lines, as_object
from penstock.operations.publish import Publisher, json_problem, publish_lines
from penstock.queues.browsing import BrowsedQueue, OpenedMessage
from penstock.queues.queue import OutputQueue
from penstock.worker import streams


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `penstock queue`."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML or TOML file")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    publish = _action(actions, _publish, "publish", "publish messages", "and wait until each is confirmed")
    publish.add_argument("name", metavar="NAME", help="a queue of the configuration")
    publish.add_argument(
        "message",
        metavar="JSON|-|FILE",
        nargs="?",
        default="-",
        help="one message; or a file with one a line; '-', the default, is standard input",
    )
    publish.add_argument("--key", help="the key of each message")
    publish.add_argument(
        "--header", action="append", default=[], metavar="NAME=VALUE", help="a header of each message (repeatable)"
    )
    publish.add_argument("--delay", type=float, metavar="SECONDS", help="hold each message back for so long")
    peek = _action(actions, _peek, "peek", "show messages", "without taking them: nothing in the queue changes")
    peek.add_argument("name", metavar="NAME", help="a queue of the configuration")
    peek.add_argument(
        "-n", "--number", type=int, default=10, metavar="N", help="at most so many (default: %(default)s)"
    )
    peek.add_argument("--after", metavar="POSITION", help="begin behind this position")
    peek.add_argument("--follow", action="store_true", help="then show what arrives, until Ctrl-C")
    peek.add_argument("--json", action="store_true", help="print a JSON object a line")


def _action(actions: Any, action: Callable[[Namespace], None], name: str, what: str, how: str) -> ArgumentParser:
    parser: ArgumentParser = actions.add_parser(name, help=what, description=f"{what.capitalize()}, {how}.")
    parser.set_defaults(action=action, parser=parser)
    return parser


def run(arguments: Namespace) -> int:
    """Do what was asked for. Ctrl-C ends it with 130, as it ends any command but `run`."""
    arguments.action(arguments)
    return 0


# -- publish


def _publish(arguments: Namespace) -> None:
    configuration = configuration_of(arguments.config)
    queue = open_queue.publish(configuration, arguments.name)
    key = None if arguments.key is None else arguments.key.encode("utf-8", "surrogateescape")
    headers = [_header(text) for text in arguments.header]
    if arguments.delay is not None and (problem := delay_problem(arguments.delay)) is not None:
        raise ConfigError(f"--delay {arguments.delay}: the delay is {problem}")
    publisher = Publisher(queue, key=key, headers=headers, delay=arguments.delay or 0.0)
    text, path = _source(arguments.message)

    async def main() -> None:
        try:
            await queue.open(configuration.worker.connect_timeout)
            if text is None:
                await publish_lines(publisher, path)
            else:
                await publisher.publish([(text, "the message")])
        finally:
            await queue.close()

    try:
        asyncio.run(main())
    except BaseException:
        print(_stored(publisher, queue), file=sys.stderr)
        raise
    print(_stored(publisher, queue))


def _source(argument: str) -> tuple[bytes | None, str]:
    """The message itself, or the file of messages."""
    text = os.fsencode(argument)
    if argument == "-":
        if sys.stdin is not None and sys.stdin.isatty():
            print("one message a line; Ctrl-D ends", file=sys.stderr)
        return None, argument
    if (problem := json_problem(text)) is None:
        return text, ""
    if Path(argument).exists():
        return None, argument
    if argument.lstrip()[:1] in ("{", "[", '"'):
        raise ConfigError(f"the message, {problem}")
    raise ConfigError(f"{argument!r} is neither JSON nor a file; a text in JSON has quotes: '\"{argument}\"'")


def _header(text: str) -> tuple[str, bytes]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(f"--header {text}: write --header NAME=VALUE")
    return name, os.fsencode(value)


def _stored(publisher: Publisher, queue: OutputQueue) -> str:
    unsure = f"; it is not known of {_messages(publisher.unsure)} more" if publisher.unsure else ""
    return f"{queue}: {_messages(publisher.stored)} stored{unsure}"


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


# -- peek


def _peek(arguments: Namespace) -> None:
    if arguments.number < 0:
        raise ConfigError(f"-n {arguments.number}: give how many messages are wanted, from 0")
    queue = open_queue.browse(configuration_of(arguments.config), arguments.name)
    asyncio.run(_show(queue, arguments))


async def _show(queue: BrowsedQueue, arguments: Namespace) -> None:
    position = arguments.after
    async with queue:
        count = 0
        async for opened in queue.messages(arguments.number, position):
            _print(opened, queue, arguments.json)
            position = opened.message.position
            count += 1
            if streams.reader_left():
                return
        if not arguments.follow:
            if not count and arguments.number:
                print(f"{queue}: no messages{f' behind {position}' if position else ''}", file=sys.stderr)
            return
        async for opened in queue.arrivals(position, _away):
            _print(opened, queue, arguments.json)
            if streams.reader_left():
                return


def _away(error: NotConnected) -> None:
    print(f"{one_line(str(error))}; looking again", file=sys.stderr)


def _print(opened: OpenedMessage, queue: BrowsedQueue, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(as_object(opened, queue.resolved.serializer)).decode())
    else:
        print(*as_lines(opened), sep="\n")
