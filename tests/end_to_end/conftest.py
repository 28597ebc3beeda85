"""A folder with an app, and `penstock run` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

TIMEOUT = 100.0  # seconds after which a run counts as hung

# A child counts what its parent held when it began as its own peak, so the parent is this small process, not pytest. It
# ends the child that it started when it is ended itself.
LAUNCHER = """
import ctypes, json, os, signal, subprocess, sys
file, *command = sys.argv[1:]
def with_parent():
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
process = subprocess.Popen(command, preexec_fn=with_parent)
_, status, usage = os.wait4(process.pid, 0)
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
with open(file, "w") as out:
    json.dump([os.waitstatus_to_exitcode(status), peak], out)
"""


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a run.

    Attributes:
        code: Exit code.
        out, err: Standard output and standard error.
        peak: Most memory that it held at a time, in bytes.
    """

    code: int
    out: str
    err: str
    peak: int

    @property
    def answer(self) -> str:
        """The error that it ended with, without the program's name."""
        return self.err.rpartition("penstock: ")[2].removesuffix("\n")


class App:
    """A folder, and `penstock run` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: str | bytes) -> None:
        """Put a file into the folder."""
        data = content.encode() if isinstance(content, str) else content
        (self.folder / name).write_bytes(data)

    def lines(self, name: str) -> list[bytes]:
        """A file's lines; an empty list if the file does not exist."""
        file = self.folder / name
        return file.read_bytes().splitlines() if file.exists() else []

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> Result:
        """`penstock run app.py …` without an endpoint, to its end; further apps come first among the arguments."""
        command = [sys.executable, "-m", "penstock.cli.main", "run", "app.py", *arguments, "--metrics-port", "none"]
        out, err, usage = self.folder / "stdout", self.folder / "stderr", self.folder / "usage"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            subprocess.run(
                [sys.executable, "-c", LAUNCHER, str(usage), *command], cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=stdout, stderr=stderr, env=os.environ | (env or {}), timeout=TIMEOUT, check=True,
            )  # fmt: skip
        code, peak = json.loads(usage.read_text())
        return Result(code, out.read_text(), err.read_text(), peak)


@pytest.fixture
def app(tmp_path: Path) -> App:
    """A folder of the test's own."""
    return App(tmp_path)


@pytest.fixture
def apps(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], App]:
    """Make as many folders as a test needs."""
    return lambda: App(tmp_path_factory.mktemp("app"))
