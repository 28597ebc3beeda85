"""What an import loads and what it costs: start-up imports only what is used."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.sources import CORE, PYPROJECTS, imports, modules, project

ROOT_IMPORT = 0.150  # seconds that `import penstock` may take, by the requirements; measured 0.011
RUNS = 5  # the fastest one counts: a busy machine only ever adds

WEB_SERVERS = {"http.server", "socketserver", "wsgiref", "uvicorn", "aiohttp", "starlette"}
COMMAND_LINES = {"argparse", "optparse", "click", "typer"}

DECLARATION = {
    f"penstock.{name}"
    for name in (
        *("backoff", "capabilities", "config", "engine", "errors", "exports", "known_secrets", "message", "pipeline"),
        *("retry", "routes", "routing", "specs", "strict_model", "version"),
    )
}
"""The top of what is loaded where an engine is declared and not run."""

PLUGINS = PYPROJECTS[1:]
NAMES = [project(path)["name"] for path in PLUGINS]


@cache
def modules_of(distribution: str) -> frozenset[str]:
    """The top-level modules that an installed distribution brings."""
    wanted = canonicalize_name(distribution)
    return frozenset(
        module
        for module, homes in packages_distributions().items()
        if wanted in {canonicalize_name(home) for home in homes}
    )


def requirements(pyproject: Path) -> set[str]:
    """The names of the distributions that a distribution depends on."""
    return {Requirement(text).name for text in project(pyproject)["dependencies"]}


def clients(pyproject: Path) -> set[str]:
    """The modules of the client libraries that a plugin depends on."""
    required = requirements(pyproject) - requirements(PYPROJECTS[0]) - {"penstock-core"}
    found = {module for name in required for module in modules_of(name)}
    assert found or not required, f"{required} are not installed"
    return found


EVERY_CLIENT = {module for path in PLUGINS for module in clients(path)}


def loaded(statement: str) -> set[str]:
    """What is loaded after a statement, in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def seconds(statement: str) -> float:
    """The seconds that a statement's imports take, without the interpreter's start; the best of some runs."""
    totals = []
    for _ in range(RUNS):
        command = [sys.executable, "-X", "importtime", "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        _before, site, after = done.stderr.partition("| site\n")
        assert site
        totals.append(sum(int(each) for each in re.findall(r"^import time: +(\d+) \|", after, re.MULTILINE)))
    return min(totals) / 1e6


def test_the_clients_are_known() -> None:
    """If none were known, the tests below could not fail."""
    assert {"confluent_kafka", "redis", "psycopg"} <= EVERY_CLIENT


@pytest.mark.parametrize(
    "statement",
    ["import penstock", "from penstock import Engine", "from penstock import *"],
    ids=["the root", "the engine", "every public name"],
)
def test_importing_penstock_loads_no_client_no_web_server_and_no_command_line(statement: str) -> None:
    """A worker loads the client that its configuration names, and a web server if it has a port."""
    found = loaded(statement)

    assert "penstock" in found
    assert found & (EVERY_CLIENT | WEB_SERVERS | COMMAND_LINES) == set()


def test_importing_the_root_loads_nothing_but_the_root() -> None:
    """The import of any module of the package runs the package, so it loads nothing, not even pydantic."""
    found = loaded("import penstock")

    assert {name for name in found if name.startswith("penstock.")} == {"penstock.exports", "penstock.version"}
    assert found.isdisjoint({"pydantic", "pluggy", "asyncio", "yaml"})


def test_declaring_an_engine_loads_nothing_that_runs_one() -> None:
    """A program that imports the engine's names takes little longer to start than one that imports pydantic."""
    found = loaded("from penstock import Engine, QueueConfig\nEngine('orders').stream_app(lambda message: None)")

    assert {name for name in found if name.startswith("penstock.") and name.count(".") == 1} == DECLARATION
    assert found.isdisjoint(
        {"asyncio", "concurrent.futures", "email", "importlib.metadata", "importlib_metadata", "orjson", "pluggy"}
        | {"prometheus_client", "ssl", "subprocess", "yaml", "penstock.worker.worker", "penstock.pipeline.loop"}
    )


def test_importing_penstock_is_cheap() -> None:
    """`python -X importtime` measures it."""
    assert seconds("import penstock") < ROOT_IMPORT


@pytest.mark.parametrize("pyproject", PLUGINS, ids=NAMES)
def test_a_plugins_entry_point_loads_no_client(pyproject: Path) -> None:
    """A listing of plugins, or a worker with a different connector, does not load the client."""
    for module in project(pyproject)["entry-points"]["penstock"].values():
        found = loaded(f"import {module}")

        assert module in found
        assert found & (EVERY_CLIENT | WEB_SERVERS | COMMAND_LINES | {"pydantic", "asyncio"}) == set()


@pytest.mark.parametrize("pyproject", [path for path in PLUGINS if list(path.parent.glob("src/*/options.py"))])
def test_a_plugins_options_load_no_client(pyproject: Path) -> None:
    """A configuration can be checked, and its schema printed, without the client."""
    (path,) = pyproject.parent.glob("src/*/options.py")
    found = loaded(f"import {path.parent.name}.options")

    assert found & EVERY_CLIENT == set()


OPTIONAL = {"rich", "argcomplete"}
"""What the extra `cli` brings."""


def test_optional_libraries_are_loaded_only_where_a_terminal_needs_them() -> None:
    """Not by the commands, which work without them."""
    commands = [f"penstock.cli.{path.stem}" for path in (CORE / "cli").glob("*.py") if path.stem != "__init__"]
    found = loaded(f"import {', '.join(commands)}")

    assert set(commands) <= found
    assert found & OPTIONAL == set()


def test_rich_is_imported_in_one_room() -> None:
    """So that another library could take its place."""
    places = [
        path.parent.name
        for path in modules(CORE).values()
        for each in imports(path.read_text())
        if each.module.partition(".")[0] == "rich"
    ]

    assert set(places) == {"terminal"}
