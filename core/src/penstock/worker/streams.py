"""Keeps writing to standard output and standard error from failing, so that no message fails because of a print."""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

STALL = 2.0  # seconds to wait for a reader that takes nothing
PIECE = select.PIPE_BUF  # bytes that a ready pipe takes without blocking

NAMES = {"stdout": (1, "standard output"), "stderr": (2, "standard error")}


class _Raw(io.RawIOBase):
    """Writes to a descriptor and never raises; it drops what it cannot write.

    Args:
        descriptor: Where to write; it is not closed.
        name: What Python calls the stream.

    Attributes:
        error: Why something was dropped the first time; None while nothing was.
        patient: Wait for a reader for as long as it takes, instead of `STALL`.
        on_loss: Called once, with the stream's name and a sentence. It must neither print nor log: locks are held.
    """

    mode = "wb"

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = f"<{name}>"
        self.error: OSError | None = None
        self.patient = False
        self.on_loss: Callable[[str, str], None] | None = None
        self._descriptor = descriptor
        self._title = NAMES[name][1]
        self._stalled = False
        self._cut = False  # the last write ended within a line

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        size = len(data)
        rest = memoryview(b"\n" + bytes(data) if self._cut else data).cast("B")
        whole = len(rest)
        try:
            while rest:
                self._wait()
                with suppress(BlockingIOError):  # another process fills the same pipe
                    rest = rest[os.write(self._descriptor, rest[:PIECE]) :]
                    self._cut = False
        except OSError as error:
            self._cut = self._cut or len(rest) < whole
            self._lose(error)
        return size

    def _wait(self) -> None:
        """Wait until the descriptor takes data; after one timeout do not wait again until it does."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        if not poll.poll(None if self.patient else 0 if self._stalled else STALL * 1000):
            self._stalled = True
            raise TimeoutError(errno.ETIMEDOUT, f"its reader took nothing for {STALL:g} s")
        self._stalled = False

    def _lose(self, error: OSError) -> None:
        if self.error is None:
            self.error = error
            self.report()

    def report(self) -> None:
        """Report that something was dropped, if it was."""
        if self.error is not None and self.on_loss is not None:
            with suppress(RuntimeError):  # the event loop has ended
                text = f"{self._title} cannot be written: {self.error.strerror}; what is printed is dropped"
                self.on_loss(self._title, text)


class _Stream(io.TextIOWrapper):
    """A standard stream. A function that closes it (`with sys.stdout:`) does not close it for the others."""

    def close(self) -> None:
        self.flush()


_guards: dict[str, _Raw] = {}  # of the streams that are guarded now, by name
_listeners: list[Callable[[str, str], None]] = []


def keep_numbers() -> None:
    """Open closed standard descriptors on the null device: otherwise the next socket would get the number of one.

    Reading from and writing to them still fails.
    """
    for number, wrong_way in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, wrong_way), True)


def guard(*, patient: bool = False) -> None:
    """Make `sys.stdout` and `sys.stderr` drop what they cannot write, for the rest of this process.

    A stream that the application has put in their place is left alone.

    Args:
        patient: Standard output is the result, so a slow reader, such as a pager, is waited for.
    """
    keep_numbers()
    for name in NAMES:
        _guard(name)
    if (stdout := _guards.get("stdout")) is not None:
        stdout.patient = patient


@contextmanager
def guarded() -> Iterator[None]:
    """Guard both streams while the block runs; log handlers that write to them, too."""
    keep_numbers()
    before = {name: getattr(sys, name) for name in NAMES if name not in _guards}
    ours = {name: stream for name in before if (stream := _guard(name)) is not None}
    for name, stream in ours.items():
        _move_handlers(before[name], stream)
    try:
        yield
    finally:
        for name, stream in ours.items():
            _guards.pop(name).on_loss = None
            with suppress(ValueError):  # a function has closed or detached it
                stream.flush()
            _move_handlers(stream, before[name])
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])


@contextmanager
def reporting_losses(on_loss: Callable[[str, str], None]) -> Iterator[None]:
    """While the block runs, report once for each stream that something could not be printed, also if it was before.

    Args:
        on_loss: Gets the stream's name and a sentence, on any thread. It must neither print nor log.
    """
    _listeners.append(on_loss)
    for raw in _guards.values():
        raw.on_loss = on_loss
        raw.report()
    try:
        yield
    finally:
        _listeners.remove(on_loss)
        for raw in _guards.values():
            raw.on_loss = _listeners[-1] if _listeners else None


def reader_left() -> bool:
    """Whether something printed on standard output was dropped, so that a command which prints for ever ends."""
    raw = _guards.get("stdout")
    return raw is not None and raw.error is not None


def refusal() -> str | None:
    """Why standard output could not be written; None also if its reader closed it early, as `| head` does."""
    if sys.stdout is not None:
        sys.stdout.flush()
    raw = _guards.get("stdout")
    if raw is None or raw.error is None or raw.error.errno == errno.EPIPE:
        return None
    return f"standard output cannot be written: {raw.error.strerror}"


def _guard(name: str) -> TextIO | None:
    stream = getattr(sys, name)
    number = NAMES[name][0]
    if name in _guards or not _is_plain(stream, number):
        return None
    raw: Any = _Raw(number, name)
    encoding, errors = "utf-8", "backslashreplace"
    if stream is not None:
        stream.flush()
        encoding = stream.encoding
        # "strict" fails where the terminal is not UTF-8, and both fail for half of a surrogate pair.
        errors = errors if stream.errors in ("strict", "surrogateescape") else stream.errors
    # By lines, so that what a function prints is seen when it happens, on a pipe too.
    ours = _Stream(io.BufferedWriter(raw), encoding, errors, line_buffering=True)
    _guards[name] = raw
    setattr(sys, name, ours)
    return ours


def _is_plain(stream: Any, number: int) -> bool:
    """Whether it is the process's own stream, and not what a notebook or a test has put there."""
    if stream is None:
        return True  # Python found the descriptor closed
    if type(stream) is not io.TextIOWrapper or stream.closed:
        return False
    try:
        return stream.fileno() == number
    except OSError:
        return False


def _move_handlers(before: TextIO | None, after: TextIO | None) -> None:
    """Let log handlers that write to one stream write to another."""
    loggers: Sequence[Any] = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if before is not None and isinstance(handler, logging.StreamHandler) and handler.stream is before:
                handler.setStream(after)
