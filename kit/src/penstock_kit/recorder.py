"""Records the results of suites from pytest, and prints the capability matrix at the end.

The first suite that runs registers it, so that installing the kit does not change pytest. With pytest-xdist, the
process that prints the matrix runs no suite: there, `-p penstock_kit.recorder` registers it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from penstock.capabilities import Capabilities
from penstock.errors import PluginError
from penstock.installed import find_connector
from penstock_kit import matrix, report

if TYPE_CHECKING:
    from penstock_kit.report import Outcome

PLUGIN = "penstock-conformance"
REPORT = "PENSTOCK_CONFORMANCE_REPORT"

# Keys under which a test leaves its data for the recorder, among pytest's `user_properties`.
TEST, NOTE = "penstock-conformance-test", "penstock-conformance-note"


class Recorder:
    """A pytest plugin."""

    def __init__(self) -> None:
        self._suites: dict[tuple[str, str], report.SuiteReport] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the result of a test: of its call, or of a setup that failed."""
        told = dict(report.user_properties)
        test = told.get(TEST)
        if not isinstance(test, Mapping) or (report.when != "call" and report.passed):
            return
        outcome, reason = judge(report, told.get(NOTE))
        self._note(test, outcome, reason)

    def _note(self, test: Mapping[str, Any], outcome: Outcome, reason: str) -> None:
        key = (test["connector"], test["variant"])
        if key not in self._suites:
            self._suites[key] = report.SuiteReport(*key, capabilities=test["capabilities"])
        suite = self._suites[key]
        finding = report.Finding(test["test"], test["group"], test["capability"], outcome, reason)
        # A teardown that fails replaces the result of its test.
        suite.findings = [each for each in suite.findings if each.test != finding.test] + [finding]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the matrix."""
        if self._suites:
            terminalreporter.section("conformance")
            # Sorted, because parallel suites end in any order.
            suites = sorted(self._suites.values(), key=lambda suite: suite.title)
            terminalreporter.write_line(matrix.as_text(suites))

    def pytest_sessionfinish(self) -> None:
        """Write the report, if the environment names a file for it."""
        path = os.environ.get(REPORT)
        if path and self._suites:
            report.write(Path(path), self._suites.values())


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder, for `-p`."""
    listen(config)


def listen(config: pytest.Config) -> None:
    """Register the recorder, once a session.

    Not in a worker of pytest-xdist, which runs only a share of the tests; the controlling process gets all results.

    Raises:
        pytest.UsageError: a report is wanted, but the recorder is not registered in the process that would write it.
    """
    if hasattr(config, "workerinput"):
        # With `-p`, the controlling process has registered this module, too.
        if os.environ.get(REPORT) and not config.pluginmanager.has_plugin(__name__):
            raise pytest.UsageError(f"{REPORT} with pytest-xdist: run pytest with -p {__name__}, which writes it")
    elif not config.pluginmanager.has_plugin(PLUGIN):
        config.pluginmanager.register(Recorder(), PLUGIN)


def judge(found: pytest.TestReport, note: object) -> tuple[Outcome, str]:
    """The outcome of a test, and its reason."""
    if found.failed:
        return "broken", ""
    if found.passed:
        return "proved", ""
    if hasattr(found, "wasxfail"):
        return "known gap", str(found.wasxfail)
    if isinstance(note, tuple | list) and len(note) == 2:
        return cast("Outcome", note[0]), str(note[1])
    text = found.longrepr[2] if isinstance(found.longrepr, tuple) else str(found.longrepr)
    return "skipped", text.removeprefix("Skipped: ")


@functools.cache
def declared(connector: str) -> dict[str, Any]:
    """The capabilities that a connector declares, as plain data."""
    try:
        return asdict(find_connector(connector).capabilities)
    except PluginError:
        # The suite's tests report the error.
        return asdict(Capabilities())
