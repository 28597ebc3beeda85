"""The metadata of the distributions, and the size of their files."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.sources import PYPROJECTS, ROOT, attributes, modules, packages, project

SIBLINGS = ">=0.1,<0.2"
LONGEST = 400  # lines; an outline of more does not fit on a screen
MOST_ATTRIBUTES = 15  # of a class; a reader cannot keep more of its state in mind

NAMES = [project(path)["name"] for path in PYPROJECTS]


def requirements(table: dict[str, Any]) -> list[Requirement]:
    """Dependencies and extras."""
    extras = table.get("optional-dependencies", {}).values()
    return [
        Requirement(text) for text in [*table.get("dependencies", ()), *(text for extra in extras for text in extra)]
    ]


@pytest.mark.parametrize("pyproject", PYPROJECTS, ids=NAMES)
def test_siblings_are_bound_by_one_range(pyproject: Path) -> None:
    """One range everywhere: not an exact version, so that each can be released alone, and not without an end."""
    table = project(pyproject)

    bounds = {
        f">={low.version},<{high.version}"
        for each in requirements(table)
        if each.name in NAMES and each.name != table["name"]
        for high, low in [sorted(each.specifier, key=lambda one: one.operator)]
    }

    assert bounds == {SIBLINGS}


@pytest.mark.parametrize("pyproject", PYPROJECTS, ids=NAMES)
def test_every_version_is_within_the_range_and_told_alike(pyproject: Path) -> None:
    """The metadata and `__version__` cannot drift apart."""
    table = project(pyproject)
    package = next(pyproject.parent.glob("src/*/__init__.py"))
    if (version := package.with_name("version.py")).exists():
        package = version
    told = [
        ast.literal_eval(statement.value)
        for statement in ast.parse(package.read_text()).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__version__"
    ]

    assert told == [table["version"]]
    assert Requirement(f"penstock-core{SIBLINGS}").specifier.contains(Version(table["version"]))


@pytest.mark.parametrize("pyproject", PYPROJECTS, ids=NAMES)
def test_no_dependency_is_without_a_lower_bound_or_pinned(pyproject: Path) -> None:
    """A library that pins its dependencies cannot be installed beside another one."""
    table = project(pyproject)

    for each in requirements(table):
        operators = {one.operator for one in each.specifier}
        assert operators <= {">=", "<", "!="}, each
        assert ">=" in operators or each.name == table["name"], each
    assert table["requires-python"] == ">=3.11"


def test_every_plugin_is_an_extra_of_the_core() -> None:
    """`pip install 'penstock-core[kafka]'`, and `penstock-core[all]` for all of them."""
    extras = project(PYPROJECTS[0])["optional-dependencies"]
    everything = next(iter(Requirement(text) for text in extras["all"]))

    plugins = extras.keys() - {"all", "cli", "testing"}

    assert {f"penstock-{name}" for name in plugins} == set(NAMES[1:])
    # The kit is for authors of connectors, not for those who use them.
    assert everything.extras == plugins - {"kit"} | {"cli"}


@pytest.mark.parametrize("pyproject", PYPROJECTS, ids=NAMES)
def test_every_distribution_has_the_licence_and_the_same_addresses(pyproject: Path) -> None:
    """Each distribution has an exact copy of the LICENSE, because a wheel is read without the repository."""
    table = project(pyproject)

    assert table["license-files"] == ["LICENSE"]
    assert (pyproject.parent / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert table["urls"] == project(PYPROJECTS[0])["urls"]


@pytest.mark.parametrize("folder", packages(), ids=NAMES)
def test_every_package_is_typed(folder: Path) -> None:
    """Type checkers use the annotations of a package with py.typed."""
    assert (folder / "py.typed").exists()


@pytest.mark.parametrize("folder", packages(), ids=NAMES)
def test_no_file_is_too_long_to_be_seen_at_a_glance(folder: Path) -> None:
    """A file holds one idea; a longer file has two."""
    lines = {name: len(path.read_text().splitlines()) for name, path in modules(folder).items()}

    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


@pytest.mark.parametrize("folder", packages(), ids=NAMES)
def test_no_class_has_too_many_attributes(folder: Path) -> None:
    """A class with more has a second purpose, which can be an object of its own."""
    counts = {
        f"{module}.{name}": len(found)
        for module, path in modules(folder).items()
        for name, found in attributes(path.read_text()).items()
    }

    assert {name: count for name, count in counts.items() if count > MOST_ATTRIBUTES} == {}


def test_an_attribute_is_counted_however_it_is_assigned() -> None:
    """Once each; not what is read, annotated in the class, or assigned in a class within."""
    source = (
        "class A:\n    __slots__ = ('a', 'b')\n    x: int\n    def f(self):\n        self.a = self.y = self.z\n"
        "        self.c, self.d = 1, 2\n        self.e: int = 1\n        self.g.h = 1\n        self.a += 1\n"
        "        def inner():\n            self.i = 1\n        class B:\n            __slots__ = 'one'\n"
        "            def f(self):\n                self.two = 1\n"
    )

    assert attributes(source) == {"A": set("abycdei"), "B": {"one", "two"}}


@pytest.mark.parametrize("folder", packages(), ids=NAMES)
def test_no_file_is_a_drawer_for_what_has_no_place(folder: Path) -> None:
    """A reader guesses a file from its name."""
    names = {name.rpartition(".")[2] for name in modules(folder)}

    assert names.isdisjoint({"utils", "util", "helpers", "common", "base", "misc", "core", "tools"})
