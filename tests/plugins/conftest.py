"""Installs the distributions of `sample_plugins.py` with pip, once a session, and runs Python beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.distributions import Distribution
from tests.plugins.sample_plugins import RIVAL_OF_THE_CORE, SAMPLE_PLUGINS

Run = Callable[..., subprocess.CompletedProcess[str]]
LookUp = Callable[..., list[tuple[str, str]]]

_LOOK_UP = """
import json, sys
from penstock.errors import PenstockError
from penstock.plugins.registry import Registry

registry, answers = Registry(), []
for kind, name, load in json.loads(sys.argv[1]):
    try:
        spec = getattr(registry, kind)(name)
        found = registry.load(spec, getattr(spec, load)) if load else spec
        answers.append(["found", getattr(found, "__qualname__", None) or found.name])
    except PenstockError as error:
        answers.append([type(error).__name__, str(error)])
print(json.dumps(answers))
"""


def _pip_install(distributions: Sequence[Distribution], folder: Path) -> Path:
    wheels = folder / "wheels"
    wheels.mkdir()
    site = folder / "site"
    files = [str(distribution.wheel(wheels)) for distribution in distributions]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "-q",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, *files], check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return site


@pytest.fixture(scope="session")
def sample_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with a working plugin and every broken one."""
    return _pip_install(SAMPLE_PLUGINS, tmp_path_factory.mktemp("sample_plugins"))


@pytest.fixture(scope="session")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with a plugin that claims the core's own names."""
    return _pip_install([RIVAL_OF_THE_CORE], tmp_path_factory.mktemp("rival"))


@pytest.fixture(scope="session")
def core_version() -> str:
    """The version of the core under test."""
    return metadata.version("penstock-core")


@pytest.fixture(scope="session")
def run() -> Run:
    """Run Python beside a folder of plugins: `run(folder, "-m", "penstock.cli.main", "plugins")`."""

    def start(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        environment: Mapping[str, str] = {
            **clean,
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=folder, timeout=60
        )

    return start


@pytest.fixture(scope="session")
def look_up(run: Run) -> LookUp:
    """Look names up in a process of their own: `look_up(folder, ("connector", "sound", "consumer"))`.

    The third part is the import string to load, "" for none. Each answer is ("found", what) or (error, its text).
    """

    def ask(folder: Path, *wanted: tuple[str, str, str], **variables: str) -> list[tuple[str, str]]:
        done = run(folder, "-c", _LOOK_UP, json.dumps(wanted), **variables)
        assert (done.returncode, done.stderr) == (0, "")
        answers: list[Any] = json.loads(done.stdout)
        return [(kind, text) for kind, text in answers]

    return ask
