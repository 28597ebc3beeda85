"""Keeps a few rows at the bottom of a terminal, and lets everything that is printed scroll above them.

The rows stand below the terminal's scroll region. So they never mix with what is printed, whatever prints it: a log
handler, the function, a C library, a child process. The cursor stays where the printing is.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TextIO

from penstock.queues import forks
from penstock.terminal.tables import console, rendered

if TYPE_CHECKING:
    from rich.console import RenderableType

log = logging.getLogger("penstock")

INTERVAL = 0.5  # seconds between two frames; rendering one takes about 3 ms
SHARE = 3  # the rows take one of this many rows of the terminal at most
END_TIMEOUT = 2.0  # seconds to wait for a terminal that takes nothing

_SAVE, _RESTORE = "\x1b7", "\x1b8"  # of the cursor: setting the region moves it
_DOWN = "\x1bD"  # a row down in the same column; a line break would go to the first one
_RELEASE = f"{_SAVE}\x1b[r{_RESTORE}\x1b[J"  # all rows scroll again; what stands below the cursor is erased
_WATCH = 'read -r _ || printf %s "$0" >&2'


class Display:
    """Shows rows at the bottom of a terminal while a block runs, and leaves the terminal as it was.

    Args:
        content: What to show, for rich, by the columns of the terminal. It is called on a thread of the display.
        stream: The terminal.
    """

    def __init__(self, content: Callable[[int], RenderableType], stream: TextIO) -> None:
        self._content = content
        self._console = console(stream)
        self._terminal = stream.fileno()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="penstock-display", daemon=True)
        self._shape: tuple[os.terminal_size, int] | None = None  # of the terminal, and how many rows are taken
        self._watcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):  # without a shell, the terminal is left as it is when this process is killed
            self._watcher = subprocess.Popen(  # noqa: S603  (the command is a constant)
                ["/bin/sh", "-c", _WATCH, _RELEASE],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._terminal,
                start_new_session=True,  # Ctrl-C and the end of the terminal are not for it
            )
        self._forget_fork = forks.on_child(self._leave_to_parent)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join(END_TIMEOUT)
        released = self._release()
        self._forget_fork()
        if self._watcher is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                # Without a line the watcher does it, once the terminal takes anything again.
                self._watcher.communicate(b"\n" if released else b"", END_TIMEOUT)

    def _release(self) -> bool:
        """Whether the terminal is as it was; else it takes nothing, as after Ctrl-S."""
        if self._thread.is_alive():
            return False
        try:
            return self._shape is None or self._write(_RELEASE)
        except OSError:
            return True  # it was closed

    def _leave_to_parent(self) -> None:
        # A child that the function forks would keep the watcher from seeing the end of this process.
        if self._watcher is not None and self._watcher.stdin is not None:
            os.close(self._watcher.stdin.fileno())

    def _run(self) -> None:
        try:
            while True:
                if self._is_in_foreground():
                    self._draw()
                if self._stopped.wait(INTERVAL):
                    return
        except OSError:
            self._shape = None  # the terminal was closed
        except Exception:
            log.warning("the display on the terminal has failed; the work goes on without it", exc_info=True)

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:
            return True  # another session's terminal

    def _draw(self) -> None:
        size = os.get_terminal_size(self._terminal)
        self._console.width = size.columns
        rows = rendered(self._content(size.columns), self._console)[: size.lines // SHARE]
        frame = "" if (size, len(rows)) == self._shape else _reserve(size, len(rows))
        if self._write(frame + _at_the_bottom(size, rows)):
            self._shape = (size, len(rows))

    def _write(self, text: str) -> bool:
        """Write in one piece, because others write too; False if the terminal takes nothing, as after Ctrl-S."""
        poll = select.poll()
        poll.register(self._terminal, select.POLLOUT)
        if not poll.poll(0):
            return False
        data = memoryview(text.encode(errors="replace"))
        while data:
            data = data[os.write(self._terminal, data) :]
        return True


def _reserve(size: os.terminal_size, count: int) -> str:
    """Free the rows below the cursor of what was drawn, and take them out of the scroll region."""
    below = _DOWN * count + (f"\x1b[{count}A" if count else "")
    return f"{_RELEASE}{below}{_SAVE}\x1b[1;{size.lines - count}r{_RESTORE}"


def _at_the_bottom(size: os.terminal_size, rows: Sequence[str]) -> str:
    first = size.lines - len(rows) + 1
    drawn = (f"\x1b[{first + number};1H\x1b[2K{row}\x1b[0m" for number, row in enumerate(rows))
    return f"{_SAVE}{''.join(drawn)}{_RESTORE}"
