"""The table, and how far the run is."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.rounds import Result
from tests.chaos.scenarios import Trial

HEADINGS = ("scenario", "faults", "sent", "lost", "dupl.", "bound", "healthy in DLQ", "stuck", "order", "seconds", "")


@dataclass(frozen=True)
class Skipped:
    """A row that was not run, and why."""

    scenario: str
    faults: str
    reason: str
    required: bool


@dataclass(frozen=True)
class Failed:
    """A row that a fault of the ledger ended: it has nothing to judge, and is not good."""

    trial: Trial
    seed: int
    reason: str


def row(result: Result) -> tuple[str, ...]:
    """A result as cells."""
    found = result.findings
    order = "-" if found.out_of_order is None else f"{len(found.out_of_order)} late" if found.out_of_order else "kept"
    return (
        result.trial.scenario.name,
        result.trial.fault_names,
        str(found.sent),
        str(len(found.lost)),
        str(len(found.duplicates)),
        f"≤ {result.bound.duplicates}",
        str(len(found.wrongly_rejected)),
        str(result.stuck),
        order,
        f"{result.seconds:.0f}",
        "BROKEN" if result.broken() else "ok",
    )


def table(results: Sequence[Result], skipped: Sequence[Skipped], failed: Sequence[Failed] = ()) -> str:
    """All rows, and below them why each bound is what it is, and what is broken."""
    rows = [HEADINGS, *map(row, results)]
    rows += [(each.trial.scenario.name, each.trial.fault_names, *[""] * 8, "FAILED") for each in failed]
    rows += [(each.scenario, each.faults, *[""] * 8, "not run") for each in skipped]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADINGS))]
    right = range(2, 10)
    lines = []
    for cells in rows:
        columns = enumerate(zip(cells, widths, strict=True))
        shown = [cell.rjust(width) if at in right else cell.ljust(width) for at, (cell, width) in columns]
        lines.append("  ".join(shown).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines + _notes(results, skipped, failed))


def _notes(results: Sequence[Result], skipped: Sequence[Skipped], failed: Sequence[Failed]) -> list[str]:
    lines = [""]
    for scenario, reason in dict.fromkeys((one.scenario, one.reason) for one in skipped):
        lines.append(f"not run: {scenario}: {reason}")
    for trial in {result.trial.name: result.trial for result in results if result.trial.fewer}.values():
        lines.append(f"{trial.name}: only {trial.messages:,} messages: {trial.fewer}")
    for result in results:
        if result.yardstick_seconds is not None:
            lines.append(
                f"{result.trial.name}: {result.working_seconds:.1f} s from the first call on; at least once took "
                f"{result.yardstick_seconds:.1f} s"
            )
    for result in results:
        if broken := result.broken():
            lines += [f"BROKEN {result.trial.name}: {text}" for text in broken]
            lines.append(_again(result.trial, result.seed))
    for each in failed:
        lines += [f"FAILED {each.trial.name}: {each.reason}", _again(each.trial, each.seed)]
    return lines


def _again(trial: Trial, seed: int) -> str:
    return f"       again: nox -s chaos -- --only {trial.name} --seed {seed}"


class Progress:
    """A line for each trial that begins and ends, with the time since the start."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._ended = 0
        self._start = time.monotonic()

    def note(self, text: str) -> None:
        """Say something."""
        self._print(text)

    def begin(self, name: str) -> None:
        """Say that a trial begins."""
        self._print(f"{name} …")

    def end(self, result: Result) -> None:
        """Say how it went."""
        self._ended += 1
        found = result.findings
        told = f"{len(found.lost)} lost, {len(found.duplicates)} duplicates (≤ {result.bound.duplicates})"
        self._print(f"{result.trial.name}: {told}, {'; '.join(result.broken()) or 'ok'}, {result.seconds:.0f} s")

    def skip(self, name: str, reason: str) -> None:
        """Say that it is not run."""
        self._ended += 1
        self._print(f"{name}: not run: {reason}")

    def fail(self, name: str, traceback: str) -> None:
        """Say that a fault of the ledger ended it, and where."""
        self._ended += 1
        self._print(f"{name}: FAILED\n{traceback}")

    def _print(self, text: str) -> None:
        seconds = time.monotonic() - self._start
        print(f"[{seconds:4.0f} s, {self._ended}/{self._trials}] {text}", file=sys.stderr, flush=True)
