"""Fresh environments, in which third-party packages are installed from wheels, as by their users."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OURS = ["kafka", "rsmq", "memory", "msgpack"]
"""The plugins beside which a third party's is installed. To build all would take 1 s apiece."""

# A stranger's own tests run where the package is installed: `test_penstock_beanstalkd.py` runs them.
collect_ignore = ["penstock-beanstalkd"]


class Environment:
    """A virtual environment of its own, which sees nothing of the workspace."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self._wheels = wheels
        venv.create(folder, symlinks=True)

    def install(self, *requirements: str) -> None:
        """Install with pip: the workspace from its wheels, everything else from the index."""
        # Most of what is installed is never imported: to compile all of it would take a third of the time.
        command = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python"), "install", "--quiet"]
        command += ["--no-compile", "--find-links", str(self._wheels), *requirements]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, program: str, *arguments: str, cwd: Path | None = None, **variables: str) -> str:
        """Run a program of this environment; its output, or a failed test that shows it."""
        done = self.try_to_run(program, *arguments, cwd=cwd, **variables)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def try_to_run(
        self, program: str, *arguments: str, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """The same, whatever the exit code; standard error is part of the output."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PENSTOCK")) or name == "PENSTOCK_CONFORMANCE_KILLS"
        }
        binaries = self.folder / "bin"
        variables = {**clean, "PATH": f"{binaries}{os.pathsep}{clean['PATH']}", **variables}
        return subprocess.run(
            [str(binaries / program), *arguments],
            cwd=cwd or self.folder, env=variables, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


def build_wheels(folder: Path, *distributions: Path, isolated: bool = True) -> None:
    """Build each distribution's wheel into a folder; `isolated` installs what its pyproject.toml needs for that."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    if not isolated:
        command.append("--no-build-isolation")
    done = subprocess.run([*command, *map(str, distributions)], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheels of those distributions of the workspace that these tests install."""
    folder = tmp_path_factory.mktemp("wheels")
    plugins = [ROOT / "plugins" / name for name in OURS]
    # With the hatchling that is here, which is among what tests need: an environment for each would take 1 s apiece.
    build_wheels(folder, ROOT / "core", ROOT / "kit", *plugins, isolated=False)
    return folder


@pytest.fixture
def fresh_environment(wheels: Path, tmp_path: Path) -> Callable[[], Environment]:
    """Make an empty environment, into which the workspace's wheels can be installed."""
    return lambda: Environment(tmp_path / "environment", wheels)
