"""Every example, run as its README says, prints what its expected.txt has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ELSEWHERE = {"three_servers"}  # tests/end_to_end runs it where its servers are started anyway
NAMES = sorted({path.parent.name for path in EXAMPLES.glob("*/README.md")} - ELSEWHERE)
SECONDS = 60.0  # that one example may take; a few are usual
SERVERS = {"POSTGRES_DSN": "postgres"}
"""Variable that says where a server is → the fixture that has one. A README that names the variable gets the server."""

_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)


def copy(name: str, tmp_path: Path) -> Path:
    """Copy the example, because some examples write files."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache", "*.sock*", "queues")
    return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored))


def commands(readme: Path) -> str:
    """The commands that a README gives for its folder, without the line that installs something."""
    blocks = [block for block in _BLOCK.findall(readme.read_text()) if not block.startswith("pip install")]
    assert blocks, f"{readme} has no bash block"
    return "".join(blocks)


def run(script: str, folder: Path, seconds: float = SECONDS, **variables: str) -> str:
    """Run shell commands with this Python's `penstock`; what they print on standard output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PWD": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_prints(expected: str, printed: str, why: str = "") -> None:
    """Compare whole outputs; `…` stands for any text on a line."""
    pattern = ".*".join(map(re.escape, expected.split("…")))
    assert re.fullmatch(pattern, printed), f"printed\n{printed}\ninstead of\n{expected}\n{why}"


def install(project: Path, target: Path) -> Mapping[str, str]:
    """Install a distribution for one test only; returns the variables that make it visible."""
    # Without a network where that is possible: then the build backend must be here already.
    isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    command += [*isolation, "--target", str(target), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return {"PYTHONPATH": str(target)}


def servers(readme: Path, request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The variables with the addresses of the servers that a README asks for, each with a new, empty database."""
    text = readme.read_text()
    return {
        variable: request.getfixturevalue(fixture).fresh()
        for variable, fixture in SERVERS.items()
        if f"`{variable}`" in text
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_example_prints_what_it_says(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The commands of the README, in its order, in a shell; the example that is a distribution is installed first, and
    the server that an example needs is there."""
    folder = copy(name, tmp_path)
    project = folder / "pyproject.toml"
    variables = install(folder, tmp_path / "site") if project.exists() else servers(folder / "README.md", request)

    printed = run(commands(folder / "README.md"), folder, **variables)

    assert_prints((folder / "expected.txt").read_text(), printed)


def test_the_intro_prints_what_it_says_on_queues_in_memory(tmp_path: Path) -> None:
    """The command of examples/README.md; on Kafka and Redis it is run by tests/end_to_end/test_intro.py."""
    folder = copy("intro", tmp_path)

    printed = run(commands(EXAMPLES / "README.md"), folder)

    assert_prints((folder / "expected.txt").read_text(), printed)


def test_the_list_of_examples_has_each_of_them() -> None:
    """examples/README.md links to the folder of every example."""
    listed = set(re.findall(r"^\| \[(\w+)\]\(\1\)", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
    assert listed == {path.parent.name for path in EXAMPLES.glob("*/expected.txt")}
