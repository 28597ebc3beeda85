"""Terminals that a test can look at: real pseudo-terminals, each shown by an emulator."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self, TextIO

import pyte
import pytest

ON_A_TERMINAL: dict[str, str | None] = {
    "TERM": "xterm-256color",
    "NO_COLOR": None,
    "FORCE_COLOR": None,
    "COLUMNS": None,
    "LINES": None,
}
"""The environment of a terminal with colours; None is not set."""

TIMEOUT = 60.0  # seconds until a wait fails; a loaded machine is slow


class Terminal:
    """A terminal, from the start of the block to its end.

    Args:
        columns, rows: Its size.

    Attributes:
        raw: All that was written to it.
    """

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=100_000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""

    def __enter__(self) -> Self:
        self._ours, self._theirs = os.openpty()
        self.resize(self.screen.columns, self.screen.lines)
        self.modes = termios.tcgetattr(self._ours)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in {self._ours, self._theirs} - {-1}:
            os.close(descriptor)

    def stream(self) -> TextIO:
        """What a program would have as its standard output."""
        return open(os.dup(self._theirs), "w", buffering=1)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as a user who drags the corner of the window."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def hang_up(self) -> None:
        """Close the terminal, as a user who closes the window."""
        os.close(self._ours)
        self._ours = -1

    def read(self, seconds: float = 0.05) -> bool:
        """Show what was written; False once every program has closed the terminal."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._ours, 65_536)
        except OSError:
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def wait_until(self, shown: Callable[[Sequence[str]], bool]) -> Sequence[str]:
        """Wait until the screen is as wanted; returns its lines."""
        until = monotonic() + TIMEOUT
        while not shown(self.lines()):
            if not self.read() or monotonic() > until:
                raise AssertionError("the screen never was as wanted:\n" + "\n".join(self.everything()))
        return self.lines()

    def wait_for(self, text: str) -> Sequence[str]:
        """Wait until a text is on the screen; returns its lines."""
        return self.wait_until(lambda lines: any(text in line for line in lines))

    def lines(self) -> list[str]:
        """The screen, without empty lines at its end."""
        return _without_end([line.rstrip() for line in self.screen.display])

    def everything(self) -> list[str]:
        """The same with what has scrolled away."""
        width = max(self.screen.columns, 200)
        past = ["".join(line[column].data for column in range(width)).rstrip() for line in self.screen.history.top]
        return _without_end([*past, *(line.rstrip() for line in self.screen.display)])

    def is_as_before(self) -> bool:
        """Whether all rows scroll, the cursor is shown, and keys are echoed as at the start."""
        margins = self.screen.margins
        scrolls = margins is None or (margins.top, margins.bottom) == (0, self.screen.lines - 1)
        return scrolls and not self.screen.cursor.hidden and termios.tcgetattr(self._ours) == self.modes


class Program(Terminal):
    """A Python process on a terminal of its own; it is killed at the end of the block if it still runs.

    Args:
        arguments: What follows `python`.
        environment: Changes to the environment; None removes a variable.
    """

    def __init__(
        self, *arguments: str, columns: int = 80, rows: int = 24, environment: dict[str, str | None] | None = None
    ) -> None:
        super().__init__(columns, rows)
        self._arguments = arguments
        merged = {**os.environ, **ON_A_TERMINAL, **(environment or {})}
        self._environment = {name: value for name, value in merged.items() if value is not None}
        self._ended = False

    def __enter__(self) -> Self:
        super().__enter__()
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", _ON_ITS_TERMINAL, *self._arguments],
            self._environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, self._theirs, number) for number in (0, 1, 2)],
        )
        os.close(self._theirs)
        self._theirs = -1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        super().__exit__(kind, error, trace)

    def wait(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        _pid, status = os.waitpid(self.pid, 0)
        self._ended = True
        return os.waitstatus_to_exitcode(status)

    def finish(self) -> int:
        """Read to its end; the exit code, negative for a signal."""
        while self.read(TIMEOUT):
            pass
        return self.wait()


_ON_ITS_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Makes the terminal the controlling one, so that Ctrl-C reaches the program."""


def without(module: str, folder: Path) -> dict[str, str | None]:
    """An environment in which a module is not installed."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    return {"PYTHONPATH": str(folder)}


def assert_screen(lines: Sequence[str], golden: Path) -> None:
    """Compare a screen with a file. With PENSTOCK_TEST_RENEW_SCREENS=1 the file is written anew."""
    if os.environ.get("PENSTOCK_TEST_RENEW_SCREENS"):
        golden.write_text("".join(f"{line}\n" for line in lines))
    assert list(lines) == golden.read_text().splitlines()


def set_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment be that of a terminal with colours."""
    for name, value in ON_A_TERMINAL.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


def _without_end(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines.pop()
    return lines
