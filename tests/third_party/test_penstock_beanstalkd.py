"""A connector that was written from the guide and the scaffold alone, on a real beanstalkd, keeps every promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.code_lines import code_lines
from tests.servers.beanstalkd import BeanstalkdServer
from tests.third_party.conftest import Environment, build_wheels

PACKAGE = Path(__file__).parent / "penstock-beanstalkd"
MOST_LINES = 150  # of client, consumer and producer; options and plugin declare, and have 43


def test_it_is_small() -> None:
    """What every connector needs is in the building blocks."""
    sources = PACKAGE / "src" / "penstock_beanstalkd"

    assert (
        sum(code_lines((sources / f"{name}.py").read_text()) for name in ("client", "consumer", "producer"))
        <= MOST_LINES
    )


@pytest.mark.timeout(900)
def test_its_own_tests_are_green(wheels: Path, tmp_path: Path, beanstalkd_server: BeanstalkdServer) -> None:
    """The conformance kit among them, from its wheel, which is typed."""
    assert beanstalkd_server.port  # the machine has a beanstalkd, else this test is skipped
    build_wheels(wheels, PACKAGE)
    environment = Environment(tmp_path / "environment", wheels)
    environment.install("penstock-core", "penstock-beanstalkd[test]")

    environment.run("python", "-m", "mypy", "--cache-dir", "/dev/null", cwd=PACKAGE)
    arguments = ["-m", "pytest", "-p", "no:cacheprovider", "-n", "4", "--dist", "worksteal"]
    report = environment.run("python", *arguments, cwd=PACKAGE, PENSTOCK_TEST_REQUIRE="beanstalkd")

    assert "= conformance =" in report
    assert "BROKEN" not in report
