"""`penstock queue`: publishes to the queues of a configuration, and looks at them, without joining a group."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from penstock.cli.configured import configuration_of
from penstock.cli.json_lines import print_object
from penstock.config.model import Configuration
from penstock.config.names import unknown_queue
from penstock.errors import ConfigError, ConnectorError, NotConnected, PluginError, delay_problem
from penstock.known_secrets import hide
from penstock.observability.printable import lines, one_line
from penstock.operations import open as open_queue
from penstock.operations.create import create
from penstock.operations.lag import Backlogs, Measured
from penstock.operations.peek import as_lines, as_object, timestamp
from penstock.operations.publish import Publisher, json_problem, publish_lines
from penstock.queues.browsing import BrowsedQueue, OpenedMessage
from penstock.queues.queue import OutputQueue
from penstock.results import Backlog
from penstock.terminal.tables import print_table
from penstock.worker import streams

WATCH = 2.0  # seconds between two counts


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `penstock queue`."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML, TOML or JSON file")
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
    lag = _action(actions, _lag, "lag", "count messages", "without joining a group: what waits, and since when")
    lag.add_argument("names", metavar="NAME", nargs="*", help="queues of the configuration; all, if none is given")
    lag.add_argument("--watch", action="store_true", help=f"count again every {WATCH:g} s, until Ctrl-C")
    lag.add_argument("--json", action="store_true", help="print a JSON object for each queue, a line each")
    create = _action(actions, _create, "create", "create queues", "unless they are there; nothing that exists changes")
    create.add_argument("names", metavar="NAME", nargs="*", help="queues of the configuration; all, if none is given")


def _action(actions: Any, action: Callable[[Namespace], int], name: str, what: str, how: str) -> ArgumentParser:
    parser: ArgumentParser = actions.add_parser(name, help=what, description=f"{what.capitalize()}, {how}.")
    parser.set_defaults(action=action, parser=parser)
    return parser


def run(arguments: Namespace) -> int:
    """Do what was asked for. Ctrl-C ends it with 130, as it ends any command but `run`."""
    return int(arguments.action(arguments))


# -- publish


def _publish(arguments: Namespace) -> int:
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
    return 0


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


def _peek(arguments: Namespace) -> int:
    if arguments.number < 0:
        raise ConfigError(f"-n {arguments.number}: give how many messages are wanted, from 0")
    queue = open_queue.browse(configuration_of(arguments.config), arguments.name)
    asyncio.run(_show(queue, arguments))
    return 0


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
        print_object(as_object(opened, queue.resolved.serializer))
    else:
        print(*as_lines(opened), sep="\n")


# -- lag


def _lag(arguments: Namespace) -> int:
    configuration = configuration_of(arguments.config)
    names = _names(configuration, arguments.names)
    return asyncio.run(_measure(configuration, names, arguments))


async def _measure(configuration: Configuration, names: Sequence[str], arguments: Namespace) -> int:
    show = _print_json if arguments.json else _print_counts
    async with Backlogs(configuration, names) as backlogs:
        found = await backlogs.measure()
        show(found)
        while arguments.watch and not streams.reader_left():
            await asyncio.sleep(WATCH)
            found = await backlogs.measure()
            show(found)
    # A queue that was not named may be one that cannot be counted.
    failed = [each for each in found if each.problem and (arguments.names or not each.cannot)]
    return 1 if failed else 0


def _print_json(found: Sequence[Measured]) -> None:
    for each in found:
        counts = each.backlog or Backlog()
        row = {
            "queue": each.name,
            "connector": each.connector or None,
            "waiting": counts.waiting,
            "in_flight": counts.in_flight,
            "delayed": counts.delayed,
            "oldest": None if counts.oldest is None else timestamp(counts.oldest),
            "error": hide(each.problem) or None,
        }
        print_object(row)


def _print_counts(found: Sequence[Measured]) -> None:
    rows = [
        (each.name, each.connector, *map(_count, (counts.waiting, counts.in_flight, counts.delayed)), _since(counts))
        for each in found
        for counts in [each.backlog or Backlog()]
    ]
    titles = ("queue", "connector", "waiting", "in flight", "delayed", "oldest")
    print_table(rows, titles, right=titles[2:])
    sys.stdout.flush()
    for each in found:
        if each.problem:
            print(lines(hide(each.problem)), file=sys.stderr)


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _since(counts: Backlog) -> str:
    if counts.oldest is None:
        return "?" if counts.waiting != 0 else ""
    age = max(0, round(time.time() - counts.oldest))
    return str(timedelta(seconds=age))


def _names(configuration: Configuration, names: Sequence[str]) -> Sequence[str]:
    """The queues that are meant.

    Raises:
        ConfigError: one of them is not in the configuration.
    """
    known = configuration.queues.keys()
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(*(unknown_queue(name, known, configuration.locations.file) for name in unknown))
    return list(dict.fromkeys(names)) or list(known)


# -- create


def _create(arguments: Namespace) -> int:
    configuration = configuration_of(arguments.config)
    names = _names(configuration, arguments.names)
    return asyncio.run(_create_all(configuration, names, by_name=bool(arguments.names)))


async def _create_all(configuration: Configuration, names: Sequence[str], *, by_name: bool) -> int:
    """Create what can be created, whatever becomes of the others. 1 if one of them could not be."""
    failed = False
    for name in names:
        try:
            made = await create(configuration, name)
        except (ConfigError, PluginError, ConnectorError) as error:
            failed = failed or by_name or isinstance(error, ConnectorError)
            print(f"penstock: {lines(hide(str(error)))}", file=sys.stderr)
        else:
            print(f"queue {name!r}: {'exists already' if made.existed else 'created'}: {one_line(made.what)}")
    return 1 if failed else 0
