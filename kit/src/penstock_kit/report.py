"""The results of a run of the kit, as data: written by the recorder, read by the matrix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["proved", "broken", "known gap", "not declared", "not promised", "not provable", "skipped"]
"""The result of a test of a promise.

- proved: kept
- broken: not kept
- known gap: not kept, and the suite says why (a strict xfail)
- not declared: a capability that the connector does not declare, and does not have if it was probed
- not promised: the connector's kind of order or lease does not include it
- not provable: the backend fixture cannot provide what the test needs, and says why
- skipped: for another reason, such as a missing server
"""


@dataclass(frozen=True)
class Finding:
    """The result of one test of one suite.

    Attributes:
        test: Its name.
        group: The family of the test ("loss").
        capability: The capability that the test proves, or "".
        outcome: See `Outcome`.
        reason: Why the test proves nothing, if it does not.
    """

    test: str
    group: str
    capability: str
    outcome: Outcome
    reason: str = ""


@dataclass
class SuiteReport:
    """The results of one suite: a connector in one of its variants.

    Attributes:
        connector: Its name.
        variant: See `ConnectorConformance.variant`.
        capabilities: What the plugin declares, by name; "ordering" is text, the others are bool.
        findings: One a test.
    """

    connector: str
    variant: str
    capabilities: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Connector and variant."""
        return f"{self.connector} ({self.variant})" if self.variant else self.connector


def write(path: Path, suites: Iterable[SuiteReport]) -> None:
    """Write the report. The file keeps the results of suites and tests that this run did not include."""
    merged = {suite.title: suite for suite in read(path)} if path.exists() else {}
    merged |= {suite.title: _with_earlier(merged.get(suite.title), suite) for suite in suites}
    content = {"suites": [asdict(merged[title]) for title in sorted(merged)]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _with_earlier(earlier: SuiteReport | None, suite: SuiteReport) -> SuiteReport:
    if earlier is None:
        return suite
    findings = {each.test: each for each in (*earlier.findings, *suite.findings)}
    return replace(suite, findings=list(findings.values()))


def read(path: Path) -> Sequence[SuiteReport]:
    """Read a report.

    Raises:
        OSError, ValueError, KeyError: the file is missing, or is not a report.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        SuiteReport(**{**suite, "findings": [Finding(**finding) for finding in suite["findings"]]})
        for suite in content["suites"]
    ]
