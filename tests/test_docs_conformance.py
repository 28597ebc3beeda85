"""The manual's matrix of what is proved belongs to the connectors that are here, and its pages have the whole kit."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock_kit
from penstock import testing
from penstock.capabilities import CAPABILITY_NAMES
from penstock.plugins.registry import Registry
from penstock_kit import BackendFixture, ConnectorConformance
from penstock_kit.backend_fixture import FACILITIES

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
AGAIN = "run `nox -s conformance`, then `python docs/tables.py --report FILE`"

Suite = type[ConnectorConformance]


def suites() -> Iterator[Suite]:
    """The conformance suites of our plugins."""
    for path in sorted(ROOT.glob("plugins/*/tests/test_conformance*.py")):
        spec = importlib.util.spec_from_file_location(f"{path.stem}_of_{path.parents[1].name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, ConnectorConformance) and each is not ConnectorConformance:
                yield each


def title(suite: Suite) -> str:
    """As the matrix calls it."""
    return f"{suite.connector} ({suite.variant})" if suite.variant else suite.connector


def report() -> str:
    """What stands on the page of a run's report."""
    found = re.search(r"<!-- report -->\n(.*?)<!-- end -->", (REFERENCE / "capabilities.md").read_text(), re.DOTALL)
    assert found
    return found[1]


def matrix(rows: str) -> dict[str, dict[str, str]]:
    """Cells by suite, then by row.

    Args:
        rows: Of which of the two tables: "capability" or "tests".
    """
    (table,) = re.findall(rf"^(\| {rows} \|.*?)^$", report(), re.DOTALL | re.MULTILINE)
    head, _rule, *body = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
    return {suite: {row[0]: row[column] for row in body} for column, suite in enumerate(head) if column}


def test_every_suite_of_ours_has_a_column() -> None:
    """And no other one is there."""
    assert set(matrix("capability")) == {title(suite) for suite in suites()}, AGAIN


def test_every_connector_has_a_column_or_a_sentence_why_not() -> None:
    """None of ours is silently left out."""
    page = (REFERENCE / "capabilities.md").read_text().replace(report(), "")
    columns = {suite.connector for suite in suites()}
    assert {name for name in Registry().names("connector") if name not in columns and f"`{name}`" not in page} == set()


@pytest.mark.parametrize("capability", CAPABILITY_NAMES)
def test_the_matrix_says_what_each_connector_declares(capability: str) -> None:
    """A capability that is declared is there with what was found of it, one that is not is "no"."""
    installed = Registry().names("connector")
    for suite in suites():
        if suite.connector not in installed:
            continue  # a pair that a plugin's tests have made of two connectors
        declared = getattr(Registry().connector(suite.connector).capabilities, capability)
        cell = matrix("capability")[title(suite)][capability]
        assert (cell == "no") == (declared in (False, "none")), f"{title(suite)}: {cell}; {AGAIN}"
        if isinstance(declared, str) and declared != "none":
            assert cell.startswith(f"by {declared} "), f"{title(suite)}: {cell}; {AGAIN}"


def test_nothing_in_the_matrix_is_broken_or_was_left_out() -> None:
    """A report of a run that failed, or that had no server, is not for the manual."""
    cells = [cell for rows in ("capability", "tests") for column in matrix(rows).values() for cell in column.values()]
    assert not [cell for cell in cells if re.search("broken|not run|skipped", cell, re.IGNORECASE)]


def test_the_matrix_has_every_family_of_tests() -> None:
    """A new one is not on the page until it has been run."""
    families = {base.__module__.rpartition(".")[2].replace("_", " ") for base in ConnectorConformance.__bases__}
    for suite, column in matrix("tests").items():
        assert families <= set(column), f"{suite}: {AGAIN}"


def test_the_known_gaps_are_those_that_the_suites_expect() -> None:
    """Each with its reason: one that is mended leaves the manual, a new one comes into it."""
    expected = {
        (title(suite), mark.kwargs["reason"], name)
        for suite in suites()
        for name, test in vars(suite).items()
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "xfail"
    }
    told = {
        (match[1], match[2], test)
        for match in re.finditer(r"^- (.+?): known gap, because (.*): (test_[\w, ]+)$", report(), re.MULTILINE)
        for test in match[3].split(", ")
    }
    assert told == expected, AGAIN


def test_every_name_of_the_kit_stands_on_its_page() -> None:
    """What is imported from `penstock_kit`, each method of a backend fixture, each excuse."""
    page = (REFERENCE / "conformance.md").read_text()
    methods = [name for name, member in vars(BackendFixture).items() if callable(member) and not name.startswith("_")]
    for name in (*penstock_kit.__all__, *methods, *FACILITIES):
        assert re.search(rf"`{name}\b", page), name


def test_every_name_of_penstock_testing_stands_on_its_page() -> None:
    """What is imported from `penstock.testing`, and each argument of a harness."""
    page = (REFERENCE / "testing.md").read_text()
    arguments = set(testing.Harness.__init__.__annotations__) - {"return"}
    for name in (*testing.__all__, *arguments):
        assert re.search(rf"^\| `{name}`|## `{name}`|^`{name}`", page, re.MULTILINE), name
