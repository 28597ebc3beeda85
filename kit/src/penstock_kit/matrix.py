"""The capability matrix: what each connector declares, and which of it was proved.

A test run prints it as text at its end. `python -m penstock_kit.matrix REPORT.json` prints it as Markdown, from the
report that a run writes to the file that the environment variable PENSTOCK_CONFORMANCE_REPORT names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from penstock.capabilities import CAPABILITY_NAMES
from penstock_kit.report import Finding, SuiteReport, read

EXCUSES = ("not provable", "known gap", "broken", "skipped")

FEW = 5  # more skipped tests than this are counted, not named

Row = Sequence[str]


def tables(suites: Sequence[SuiteReport]) -> tuple[list[Row], list[Row]]:
    """Two tables with a header row each: one row for each capability, one row for each family of tests."""
    titles = [suite.title for suite in suites]
    groups = dict.fromkeys(finding.group for suite in suites for finding in suite.findings)
    capabilities: list[Row] = [[name, *(_capability(suite, name) for suite in suites)] for name in CAPABILITY_NAMES]
    families: list[Row] = [[group.replace("_", " "), *(_family(suite, group) for suite in suites)] for group in groups]
    return [["capability", *titles], *capabilities], [["tests", *titles], *families]


def _capability(suite: SuiteReport, name: str) -> str:
    declared = suite.capabilities.get(name)
    if declared in (False, None, "none"):
        hidden = any(each.capability == name and each.outcome == "broken" for each in suite.findings)
        return "BROKEN: not declared, and there" if hidden else "no"
    findings = [each for each in suite.findings if each.capability == name and each.outcome != "not promised"]
    outcomes = {each.outcome for each in findings}
    proved = sum(each.outcome == "proved" for each in findings)
    said = f"by {declared}" if isinstance(declared, str) else ""
    for outcome in EXCUSES:
        if outcome in outcomes and (outcome in ("broken", "known gap") or "proved" not in outcomes):
            return f"{said} {outcome.upper() if outcome == 'broken' else outcome}".strip()
    if not proved:
        return f"{said} declared, not run".strip()
    # Some of its tests could not run.
    return f"{said} {'proved' if proved == len(findings) else f'in part, {proved} of {len(findings)}'}".strip()


def _family(suite: SuiteReport, group: str) -> str:
    findings = [each for each in suite.findings if each.group == group]
    counted = [(outcome, sum(each.outcome == outcome for each in findings)) for outcome in ("proved", *EXCUSES)]
    return ", ".join(
        f"{count} {outcome.upper() if outcome == 'broken' else outcome}" for outcome, count in counted if count
    )


def notes(suites: Sequence[SuiteReport]) -> Iterator[str]:
    """A sentence with the reason for everything that is not proved."""
    for suite in suites:
        by_reason: dict[tuple[str, str], list[Finding]] = {}
        for finding in suite.findings:
            if finding.outcome in EXCUSES:
                by_reason.setdefault((finding.outcome, finding.reason), []).append(finding)
        for (outcome, reason), findings in sorted(by_reason.items()):
            # A missing server skips many tests: one line without their names.
            many = outcome == "skipped" and len(findings) > FEW
            tests = f"{len(findings)} tests" if many else ", ".join(finding.test for finding in findings)
            yield (
                f"{suite.title}: {outcome}, because {reason}: {tests}"
                if reason
                else f"{suite.title}: {outcome}: {tests}"
            )


def as_text(suites: Sequence[SuiteReport]) -> str:
    """The matrix as text, for a terminal."""
    both = tables(suites)
    widths = [max(len(row[column]) for table in both for row in table) for column in range(len(suites) + 1)]
    lines: list[str] = []
    for head, *body in both:
        lines += [
            _aligned(head, widths),
            "-" * (sum(widths) + 2 * len(suites)),
            *(_aligned(r, widths) for r in body),
            "",
        ]
    return "\n".join([*lines, *notes(suites)]).rstrip()


def _aligned(row: Row, widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def as_markdown(suites: Sequence[SuiteReport]) -> str:
    """The matrix in Markdown, for the manual."""
    lines: list[str] = []
    for head, *body in tables(suites):
        lines += [_markdown_row(head), _markdown_row(["---"] * len(head)), *map(_markdown_row, body), ""]
    return "\n".join([*lines, *(f"- {note}" for note in notes(suites))]).rstrip() + "\n"


def _markdown_row(cells: Row) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a report as Markdown. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m penstock_kit.matrix", description="Prints a conformance report as Markdown."
    )
    parser.add_argument("report", type=Path, help="the file that PENSTOCK_CONFORMANCE_REPORT named during the run")
    options = parser.parse_args(arguments)
    try:
        suites = read(options.report)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{options.report} is not a conformance report: {error!r}\n")
        return 2
    sys.stdout.write(as_markdown(suites))
    return 0


if __name__ == "__main__":
    sys.exit(main())
