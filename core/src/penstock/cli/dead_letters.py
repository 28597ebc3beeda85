"""`penstock dead-letters`: looks at the letters of a dead-letter queue, sends them back, exports or drops them."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.cli.configured import configuration_of
from penstock.cli.exits import ABORTED
from penstock.cli.letters_text import GROUP_COLUMNS, SHOWN, group_object, group_rows, letter_object, letter_text
from penstock.cli.lines_file import LinesFile, open_lines
from penstock.config.model import Configuration, LogSettings
from penstock.errors import ConfigError, ConnectorError
from penstock.known_secrets import hide
from penstock.observability.printable import lines, one_line
from penstock.operations.export import copy, drop, export
from penstock.operations.letters import Filter, Group, count, dead_letter_queue, deaths, letters
from penstock.operations.letters_file import LettersFile, plan_file, replay_file
from penstock.operations.origins import Origins
from penstock.operations.replay import Plan, plan, replay
from penstock.operations.work import Progress, Work
from penstock.queues.browsing import BrowsedQueue
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.terminal.bars import progress
from penstock.terminal.tables import print_table
from penstock.worker.log_setup import log_set_up
from penstock.worker.signals import stop_signals

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `penstock dead-letters`."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML, TOML or JSON file")
    parser.add_argument("queue", metavar="QUEUE", help="the dead-letter queue")
    parser.set_defaults(reject=parser.error)
    actions = parser.add_subparsers(dest="action", metavar="list | show | export | replay | drop", required=True)
    chosen = argparse.ArgumentParser(add_help=False)
    add_filter(chosen)

    listed = actions.add_parser("list", parents=[chosen], help="count letters by stage, error, origin and app")
    listed.add_argument("--json", action="store_true", help="as JSON")
    listed.add_argument("--settled", action="store_true", help="also what a log keeps after it was replayed or dropped")

    shown = actions.add_parser("show", parents=[chosen], help="print letters whole")
    shown.add_argument("ids", nargs="*", metavar="ID", help="a letter's id, or its position in the queue")
    shown.add_argument("--json", action="store_true", help="one JSON object a line, bodies whole")
    shown.add_argument("--bytes", type=_count, default=SHOWN, help=f"of a body that are shown ({SHOWN:,})")
    shown.add_argument("-n", type=_count, default=10, dest="most", help="letters that are shown (10)")
    shown.add_argument("--settled", action="store_true", help="also what a log keeps after it was replayed or dropped")

    exported = actions.add_parser("export", parents=[chosen], help="move letters into a file, or copy them with --keep")
    exported.add_argument("file", metavar="FILE", help="one line a letter; '-' is standard output, with --keep")
    exported.add_argument("--keep", action="store_true", help="take nothing out of the queue")
    exported.add_argument("--append", action="store_true", help="behind what the file holds already")

    replayed = actions.add_parser("replay", parents=[chosen], help="send letters back to where they came from")
    replayed.add_argument("--to", default="", metavar="QUEUE", help="send all to this queue of the configuration")
    replayed.add_argument("--from", dest="file", metavar="FILE", help="letters that `export` wrote, not the queue's")
    replayed.add_argument("--dry-run", action="store_true", help="say what would go where; change nothing")
    replayed.add_argument("--rate", type=_rate, default=0.0, metavar="N/s", help="letters a second at most")
    replayed.add_argument("--force", action="store_true", help="also what was replayed three times and died each time")

    dropped = actions.add_parser("drop", parents=[chosen], help="remove letters for good")
    dropped.add_argument("--all", action="store_true", help="every letter; without it a filter is needed")
    dropped.add_argument("--yes", action="store_true", help="do not ask")


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose letters."""
    group = parser.add_argument_group("which letters")
    group.add_argument("--stage", default="", help="decode, validate, function, output, produce or delivery")
    group.add_argument("--error", default="", metavar="TEXT", help="a part of 'Type: text', in any case")
    group.add_argument("--origin", default="", metavar="QUEUE", help="the backend's name of the queue they came from")
    group.add_argument("--app", default="", help="the app that gave them up")
    group.add_argument("--since", type=_time, metavar="TIME", help="died at or after: 2026-11-27T02:00Z, or 2h ago: 2h")
    group.add_argument("--until", type=_time, metavar="TIME", help="died at or before")
    group.add_argument("--id", action="append", default=[], metavar="ID", help="an id or a position (repeatable)")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for; 0 if it is done for every letter that was chosen."""
    if arguments.action == "drop" and not (arguments.all or _filter(arguments)):
        arguments.reject("drop: give a filter, such as --stage decode, or --all")
    with log_set_up() as configure_log:
        configure_log(LogSettings(), "warning")
        configuration = configuration_of(arguments.config)
        queue = dead_letter_queue(configuration, arguments.queue)
        return asyncio.run(ACTIONS[arguments.action](arguments, configuration, queue))


async def _list(arguments: argparse.Namespace, _configuration: Configuration, queue: ResolvedQueue) -> int:
    groups: dict[tuple[str, ...], Group] = {}
    async with BrowsedQueue(queue) as browsed:
        async for found in letters(browsed, _filter(arguments), settled=arguments.settled):
            count(found, groups)
    ordered = sorted(groups.values(), key=lambda each: -each.count)
    total = sum(each.count for each in ordered)
    if arguments.json:
        content = {"queue": queue.name, "letters": total, "groups": [group_object(each) for each in ordered]}
        print(json.dumps(content, indent=2))
        return 0
    if ordered:
        print_groups(ordered)
    print(f"{one_line(queue.name)}: {_letters(total)}" + (" chosen" if _filter(arguments) else ""))
    return 0


def print_groups(groups: Sequence[Group]) -> None:
    """Print the table of `list`."""
    narrow = ("the last is at", "first", "app")  # what a narrow terminal does without
    print_table(group_rows(groups), GROUP_COLUMNS, right=("letters",), whole=("first", "last"), optional=narrow)


async def _show(arguments: argparse.Namespace, _configuration: Configuration, queue: ResolvedQueue) -> int:
    wanted = _filter(arguments)
    wanted = replace(wanted, ids=wanted.ids | frozenset(arguments.ids))
    shown = more = 0
    async with BrowsedQueue(queue) as browsed:
        async for found in letters(browsed, wanted, settled=arguments.settled or bool(wanted.ids)):
            if shown == arguments.most:
                more += 1
                continue
            if arguments.json:
                print(json.dumps(letter_object(found)))
            else:
                print(("\n" if shown else "") + letter_text(found, arguments.bytes))
            shown += 1
    if more:
        print(f"\n{more:,} more: -n {shown + more} shows all", file=sys.stderr)
    if shown:
        return 0
    print(f"penstock: {one_line(queue.name)}: no such letter; `list` counts what is there", file=sys.stderr)
    return 1


async def _export(arguments: argparse.Namespace, _configuration: Configuration, queue: ResolvedQueue) -> int:
    if arguments.file == "-" and not arguments.keep:
        raise ConfigError("export -: standard output cannot be synced to a disk; add --keep, or give a file")
    with closing(_lines_file(arguments)) as file:
        chosen = await deaths(queue, _filter(arguments))

        def append(rows: Sequence[bytes]) -> None:
            try:
                file.append(rows)
            except OSError as error:
                text = f"export {arguments.file}: {error.strerror}; what is not in the file stays in the queue"
                raise ConnectorError(text) from error

        async with _working(f"{arguments.action} {queue.name}", len(chosen)) as work:
            if arguments.keep:
                positions = frozenset(each.position for each in chosen)
                await copy(queue, _filter(arguments), positions, append, work)
            else:
                await export(queue, chosen, append, work)
    return _end(work, "exported", f"`export {one_line(arguments.file)} --append` goes on")


async def _replay(arguments: argparse.Namespace, configuration: Configuration, queue: ResolvedQueue) -> int:
    wanted = _filter(arguments)
    origins = Origins(configuration, queue.name, arguments.to)
    file = None
    if arguments.file is None:
        planned = await plan(queue, wanted, origins, force=arguments.force)
    else:
        file = LettersFile(arguments.file, f"{wanted} {arguments.to}")
        planned = plan_file(file, wanted, origins, force=arguments.force)
    if arguments.dry_run:
        return _tell(planned, arguments.file or queue.name)
    async with _working(f"replay {queue.name}", len(planned.targets), arguments.rate) as work:
        if file is None:
            await replay(queue, planned, work)
        elif not planned.left:
            await replay_file(file, planned, work)
        else:
            # How far a file was sent is one place in it, so that none may be passed over.
            work.progress.left += planned.left
    if file is not None and file.start:
        text = f"{file.path}: {file.start:,} of {file.size:,} bytes were sent before; to send all again, remove "
        print(one_line(f"{text}{file.path}.replayed"), file=sys.stderr)
    return _end(work, "replayed", "the same command goes on")


async def _drop(arguments: argparse.Namespace, _configuration: Configuration, queue: ResolvedQueue) -> int:
    chosen = await deaths(queue, _filter(arguments))
    if chosen and not arguments.yes and not _agreed(f"drop {_letters(len(chosen))} of {queue.name} for good?"):
        print("penstock: nothing was dropped; answer yes, or add --yes", file=sys.stderr)
        return 1
    async with _working(f"{arguments.action} {queue.name}", len(chosen)) as work:
        await drop(queue, chosen, work)
    return _end(work, "dropped", "the same command goes on")


ACTIONS: Mapping[str, Callable[[argparse.Namespace, Configuration, ResolvedQueue], Coroutine[Any, Any, int]]] = {
    "list": _list,
    "show": _show,
    "export": _export,
    "replay": _replay,
    "drop": _drop,
}


# -- what is printed


def _tell(planned: Plan, source: str) -> int:
    """What a replay would do."""
    for name, number in planned.counts.items():
        print(f"{_letters(number)} of {one_line(source)} would go to {one_line(name)}")
    if not planned.counts:
        print(f"no letter of {one_line(source)} would be sent")
    _print_left(planned.left, "would be left")
    return 1 if planned.left else 0


def _end(work: Work, done: str, to_go_on: str) -> int:
    """The summary on standard error, and the exit code."""
    progress, stopped = work.progress, work.stopped.is_set()
    rest = progress.total - progress.done
    print(f"{_letters(progress.done)} {done}" + (f", {rest:,} not: {to_go_on}" if stopped and rest else ""),
          file=sys.stderr)  # fmt: skip
    _print_left(progress.left, "left")
    if progress.late:
        print(f"{_letters(progress.late)} went to another consumer before the backend had settled them, and may come "
              "twice; their penstock-id tells", file=sys.stderr)  # fmt: skip
    if progress.passed:
        print(f"{_letters(progress.passed)} that were not chosen were leased as well, since this connector cannot take "
              "chosen ones alone; they are back, with one attempt more", file=sys.stderr)  # fmt: skip
    if progress.disordered:
        print("some letters did not come, so those behind them are not in the order of their death", file=sys.stderr)
    return ABORTED if stopped and rest else 1 if progress.left else 0


def _print_left(left: Counter[str], word: str) -> None:
    for reason, number in left.items():
        print(f"{_letters(number)} {word}: {lines(hide(reason))}", file=sys.stderr)


def _letters(number: int) -> str:
    return f"{number:,} letter{'' if number == 1 else 's'}"


def _agreed(question: str) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        return False
    return input(f"{one_line(question)} [yes/no] ").strip().lower() in ("y", "yes")


@asynccontextmanager
async def _working(title: str, total: int, rate: float = 0.0) -> AsyncIterator[Work]:
    """Work that a first signal stops after its batch, with a bar of its progress on a terminal."""
    with progress(title, total) as bar:

        def show(done: Progress) -> None:
            bar.done = done.done

        work = Work(total, rate, show)
        with stop_signals(work.stopped.set, lambda: os._exit(ABORTED)):
            yield work


# -- what is asked for


def _filter(arguments: argparse.Namespace) -> Filter:
    return Filter(
        arguments.stage,
        arguments.error,
        arguments.origin,
        arguments.app,
        arguments.since,
        arguments.until,
        frozenset(arguments.id),
    )


def _lines_file(arguments: argparse.Namespace) -> LinesFile:
    choices = "add --append to write behind what it holds"
    return open_lines(arguments.file, "append" if arguments.append else "reject", f"export {arguments.file}", choices)


def _time(text: str) -> datetime:
    number, unit = text[:-1], text[-1:]
    if number.isdecimal() and unit in UNITS:
        return datetime.now(UTC) - timedelta(seconds=int(number) * UNITS[unit])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write 2026-11-27T02:00:00Z, or 90s, 30m, 2h, 7d ago")
    return time


def _rate(text: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate; write letters a second: 100/s")
    return rate


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)
