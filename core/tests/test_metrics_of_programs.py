"""The program's own metrics stand beside the engines' on one page."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Counter

from .test_metrics import engine, scrape


def test_the_programs_own_metrics_stand_on_the_same_page() -> None:
    """What it counts with the client's default registry; without what the client says of process and interpreter."""
    counted = Counter("orders_seen", "Orders.", ["kind"])
    counted.labels("new").inc(3)
    try:
        series = scrape(engine())
    finally:
        REGISTRY.unregister(counted)

    assert series["orders_seen_total", frozenset({("kind", "new")})] == 3
    assert not [name for name, _labels in series if name.startswith("python_")]


def test_a_broken_collector_of_the_program_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is told in the log."""

    class Broken:
        def collect(self) -> Iterator[object]:
            raise RuntimeError("no metrics today")

        def describe(self) -> list[object]:
            return []

    broken = Broken()
    REGISTRY.register(broken)  # type: ignore[arg-type]
    try:
        series = scrape(engine())
    finally:
        REGISTRY.unregister(broken)  # type: ignore[arg-type]

    assert any(name.startswith("penstock_") for name, _labels in series)
    assert "the metrics of the program cannot be read" in caplog.text


def test_metrics_of_several_processes_are_added(tmp_path: Path) -> None:
    """`PROMETHEUS_MULTIPROC_DIR`, as the client's own servers do it."""
    program = (
        "import sys\nfrom prometheus_client import Counter\n"
        "from penstock.observability.exposition import MetricsRegistry\n"
        "Counter('jobs', 'Jobs.').inc(int(sys.argv[1]))\n"
        "print(MetricsRegistry().exposition()[0].decode())"
    )
    for count in ("2", "5"):
        page = subprocess.run(
            [sys.executable, "-c", program, count],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "jobs_total 7.0" in page
