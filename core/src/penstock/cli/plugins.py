"""`penstock plugins`: lists what is installed, its origin, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict

from penstock.plugins.registry import ListedName, Registry
from penstock.terminal.tables import PAGE, print_table, print_text

_COLUMNS = ("kind", "name", "distribution", "version", "origin", "state")
_STYLES = {"ok": "green", "blocked": "yellow", **dict.fromkeys(("broken", "incompatible", "duplicate"), "bold red")}


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
        print_plugins(names)
    # A blocked plugin is not a failure: the user blocked it.
    return int(arguments.check and any(listed.state not in ("ok", "blocked") for listed in names))


def print_plugins(names: Sequence[ListedName]) -> None:
    """Print the table, and below it what is wrong."""
    rows = [[str(getattr(listed, column)) for column in _COLUMNS] for listed in names]
    print_table(rows, _COLUMNS, width=PAGE, styles=_STYLES, optional=("origin", "version"))
    for problem in dict.fromkeys(line for listed in names for line in listed.problem.split("\n") if line):
        print()
        print_text(problem)
