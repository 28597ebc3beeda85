"""What a run of the kit has found, as data: written by the recorder, read by the matrix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["proved", "broken", "known gap", "not declared", "not promised", "not provable", "skipped"]
"""What a test says of a promise.

- proved: kept
- broken: not kept
- known gap: not kept, as the suite says and why (a strict xfail)
- not declared: a capability that the connector does not declare, and, as far as it was probed, does not have
- not promised: it asks for what this connector's kind of order or lease does not give
- not provable: the backend fixture cannot do what the test needs, and says why
- skipped: for another reason, such as a server that is not there
"""


@dataclass(frozen=True)
class Finding:
    """One test of one suite.

    Attributes:
        test: Its name.
        group: The family it belongs to ("loss").
        capability: The capability that it proves, or "".
        outcome: See `Outcome`.
        reason: Why it proves nothing, where it does not.
    """

    test: str
    group: str
    capability: str
    outcome: Outcome
    reason: str = ""


@dataclass
class SuiteReport:
    """One suite: a connector, in one of its variants.

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
    """Write a report; suites that an earlier run has left in the file, and that this one has not run, stay."""
    merged = {suite.title: suite for suite in read(path)} if path.exists() else {}
    merged |= {suite.title: suite for suite in suites}
    content = {"suites": [asdict(merged[title]) for title in sorted(merged)]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Sequence[SuiteReport]:
    """Read a report.

    Raises:
        OSError, ValueError, KeyError: it is not there, or is none.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        SuiteReport(**{**suite, "findings": [Finding(**finding) for finding in suite["findings"]]})
        for suite in content["suites"]
    ]
