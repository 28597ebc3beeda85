"""A file that lines are appended to. They are on the disk when `append` returns; earlier content is never lost."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from penstock.errors import ConfigError

log = logging.getLogger("penstock")

Existing = Literal["reject", "append", "overwrite"]
"""What to do with a file that is not empty."""

_NOT_OFFERED = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EROFS)
"""A directory that cannot be synced, as on some network file systems, is not an error of the file."""


def open_lines(path: str, existing: Existing, wanted_by: str, choices: str) -> LinesFile:
    """`LinesFile`, for the command line.

    Args:
        path, existing: As of `LinesFile`.
        wanted_by: Begins an error: "--collect out.jsonl".
        choices: What the user may add if the file is not empty.

    Raises:
        ConfigError: the file cannot be written, holds something, or another run is writing to it.
    """
    try:
        return LinesFile(path, existing)
    except FileExistsError as error:
        raise ConfigError(f"{wanted_by}: the file is not empty; {choices}, or give another file") from error
    except BlockingIOError as error:
        text = "another run is writing to the file; let it end, or give another file"
        raise ConfigError(f"{wanted_by}: {text}") from error
    except OSError as error:
        raise ConfigError(f"{wanted_by}: {error.strerror}") from error


class LinesFile:
    """Appends lines to a file, to standard output ("-"), or to a pipe or device.

    A regular file is locked for as long as it is open, and every `append` is synced to the disk. Of a pipe or a
    terminal nothing can be promised but that the operating system took the lines.

    Args:
        path: The file; it is created if it is missing.
        existing: What to do if it is not empty. "overwrite" empties it at the first `append`, or at `finish`.

    Raises:
        FileExistsError: it is not empty, and `existing` is "reject".
        BlockingIOError: another process, or another `LinesFile`, is writing to it.
        OSError: it cannot be written.
    """

    def __init__(self, path: str, existing: Existing = "reject") -> None:
        self.path = path
        self._is_ours = path != "-"
        if self._is_ours:
            # O_APPEND: even a writer that ignores the lock cannot overwrite these lines.
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        else:
            self._descriptor = _standard_output()
        try:
            self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
            self._empty_first = False
            self._break_first = False
            if self._is_ours and self._regular:
                self._take(existing)
        except BaseException:
            self.close()
            raise

    def append(self, lines: Sequence[bytes]) -> None:
        """Write each line, followed by a line break.

        Raises:
            OSError: the lines are not safely in the file. Of a regular file what was written of them is cut off again.
        """
        self._empty()
        data = b"".join([b"\n" if self._break_first else b"", *(part for line in lines for part in (line, b"\n"))])
        if not self._regular:
            self._write(data)
            return
        before = os.fstat(self._descriptor)
        if self._is_ours and before.st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the file was removed while it was written")
        try:
            self._write(data)
            os.fsync(self._descriptor)
        except OSError:
            if self._is_ours:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, before.st_size)
            raise
        self._break_first = False

    def finish(self) -> None:
        """Note that the run has succeeded: a file to be overwritten is empty now, even without any line."""
        self._empty()

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._is_ours and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self, existing: Existing) -> None:
        _lock(self._descriptor)
        # Only now that the file is locked: before, another run may have written to it.
        if os.fstat(self._descriptor).st_size:
            if existing == "reject":
                raise FileExistsError(errno.EEXIST, "the file is not empty")
            self._empty_first = existing == "overwrite"
            self._break_first = existing == "append" and not _ends_with_line_break(self.path)
            if self._break_first:
                log.warning(
                    "%s: its last line has no end, as after a crash in the middle of it; it is left as it is, and new "
                    "lines stand behind it, each on its own",
                    self.path,
                )
        _sync_directory(Path(self.path).resolve().parent)

    def _empty(self) -> None:
        if self._empty_first:
            os.ftruncate(self._descriptor, 0)
            self._empty_first = False

    def _write(self, data: bytes) -> None:
        if not self._is_ours:
            sys.stdout.flush()  # the function's own output comes first
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])  # another program made the standard output non-blocking


def _standard_output() -> int:
    if sys.stdout is None or sys.stdout.closed:
        raise OSError(errno.EBADF, "standard output is closed")
    descriptor = sys.stdout.fileno()
    try:
        os.write(descriptor, b"")  # raises if it was closed
    except OSError as error:
        if error.errno == errno.EBADF:
            raise OSError(errno.EBADF, "standard output is closed") from error
    return descriptor


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        log.debug("the file system has no locks: %s", error)


def _ends_with_line_break(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _sync_directory(directory: Path) -> None:
    """Sync a new file's directory, so that the file is found after a crash."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
