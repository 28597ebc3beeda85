"""`penstock plugins`: lists what is installed, its origin, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from textwrap import wrap

from penstock.observability.printable import one_line
from penstock.plugins.registry import ListedName, Registry

_COLUMNS = ("kind", "name", "distribution", "version", "origin", "state")
_WIDTH = 100  # columns of a terminal that the table may take
_GAP = "  "
_LEAST = 12  # columns that a cell keeps, however wide the table is


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `penstock plugins`."""
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects")
    parser.add_argument(
        "--check",
        action="store_true",
        help="import everything that is offered, client libraries too; exit with 1 if anything does not work",
    )
    parser.epilog = (
        "PENSTOCK_PLUGINS_BLOCK and PENSTOCK_PLUGINS_ALLOW, comma-separated names of distributions or entry points, "
        "keep plugins from being loaded at all."
    )


def run(arguments: Namespace) -> int:
    """Print what is installed. 1 if `--check` found something that does not work."""
    registry = Registry()
    # What a plugin prints while it is imported must not end up in the JSON.
    with redirect_stdout(sys.stderr):
        names = registry.check() if arguments.check else registry.listing()
    if arguments.json:
        print(json.dumps([asdict(listed) for listed in names], indent=2))
    else:
        print("\n".join(_table(names)))
    # A blocked plugin is not a failure: the user blocked it.
    return int(arguments.check and any(listed.state not in ("ok", "blocked") for listed in names))


def _table(names: Sequence[ListedName]) -> Iterator[str]:
    rows = [
        _COLUMNS,
        *(tuple(one_line(str(getattr(listed, column)), _WIDTH) for column in _COLUMNS) for listed in names),
    ]
    widths = _widths(rows)
    for row in rows:
        yield _GAP.join(_cell(text, width) for text, width in zip(row, widths, strict=True)).rstrip()
    problems = dict.fromkeys(one_line(line) for listed in names for line in listed.problem.split("\n"))
    for problem in problems:
        yield ""
        # Words are not split: they may be part of a command.
        yield from wrap(problem, _WIDTH, subsequent_indent=_GAP, break_long_words=False, break_on_hyphens=False)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column; the widest ones shrink until the table fits."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = _WIDTH - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _cell(text: str, width: int) -> str:
    return (text if len(text) <= width else text[: width - 1] + "…").ljust(width)
