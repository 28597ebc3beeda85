"""The command: `python -m tests.chaos`, which `nox -s chaos` calls."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase

from tests.chaos import scenarios
from tests.chaos.report import Progress, table
from tests.chaos.runner import Runner
from tests.chaos.scenarios import Trial
from tests.chaos.servers import Servers

DESCRIPTION = """\
Run real workers between real servers, hurt both, and count every message with raw clients, never through Penstock.

A row of the table is a scenario under one or more faults. docs/reference/chaos.md says what each column means.
"""
EPILOG = """\
examples:
  nox -s chaos                                     every fault in every scenario, once (minutes)
  nox -s chaos -- --short                          what the default `nox` tries (at most two minutes)
  nox -s chaos -- --only 'kafka/*' --rounds 10     each fault on Kafka ten times, each time at other moments
  nox -s chaos -- --only rsmq/kill --seed 17       one row again, with the seed that a broken row names

exit codes: 0 every bound is kept; 1 a bound is broken, a row failed, or a server that
PENSTOCK_TEST_REQUIRE names is missing; the rows are named; 2 the command line is wrong;
130 or 143 a signal ended the run, and the table has what had ended by then
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for, and print the table.

    Returns:
        The exit code.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    trials = [*scenarios.short(), *scenarios.full()] if options.only else _form(options.short)
    if options.only:
        trials = list({trial.name: trial for trial in trials if _matches(trial, options.only)}.values())
    if not trials:
        parser.error(f"no trial is named {' or '.join(options.only)}; --list shows all")
    if options.list:
        print("\n".join(trial.name for trial in trials))
        return 0
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    planned = [(trial, seed + number) for number in range(options.rounds) for trial in trials]
    print(f"{len(planned)} trials, seed {seed}, {options.jobs} at a time", file=sys.stderr, flush=True)
    with Servers() as servers:
        runner = Runner(servers, Progress(len(planned)))
        try:
            runner.run(planned, options.jobs)
        except KeyboardInterrupt:
            return 130
        finally:
            print(table(runner.results, runner.skipped, runner.failed), flush=True)
    broken = any(result.broken() for result in runner.results) or bool(runner.failed)
    return 1 if broken or any(each.required for each in runner.skipped) else 0


def _form(short: bool) -> list[Trial]:
    return scenarios.short() if short else scenarios.full()


def _matches(trial: Trial, patterns: Sequence[str]) -> bool:
    """Whether a pattern is the trial's name, or its scenario's, or fits it with `*`."""
    return any(each == trial.scenario.name or fnmatchcase(trial.name, each) for each in patterns)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nox -s chaos --",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--short", action="store_true", help="fewer rows, several faults in each: at most two minutes on two cores")
    add("--only", metavar="NAME", action="append", help="a scenario, SCENARIO/FAULTS, or a pattern with *; repeatable")
    add("--rounds", metavar="N", type=_positive, default=1, help="each row so often, with seeds that count up (1)")
    add("--seed", metavar="N", type=int, help="which messages are bad, and when faults strike; random, and printed")
    add("--jobs", metavar="N", type=_positive, default=2, help="rows at a time, if they use different servers (2)")
    add("--list", action="store_true", help="print the names of the rows and end")
    return parser
