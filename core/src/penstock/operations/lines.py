"""Reads JSON lines from a file, a pipe or standard input, and makes a body of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import orjson

from penstock.errors import ConfigError
from penstock.serializers import Serializer

PIECE = 256 * 1024  # bytes of lines that are read together
MAX_LINE = 128 * 2**20  # bytes; more than any queue accepts


class LineReader:
    """Reads complete lines, as soon as there are any.

    Args:
        path: The file; "-" is standard input.
        name: What errors call it.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self._name = name
        self._file: IO[bytes] | None = None
        self._parts: list[bytes] = []  # of a line that is not complete yet
        self._size = 0  # their bytes

    def open(self) -> None:
        """Open the file, so that a missing one is an error before anything else happens.

        Raises:
            ConfigError: it cannot be read.
        """
        try:
            # Unbuffered: a read returns what is available, and a thread that waits for a pipe holds no lock.
            if self.path == "-":
                os.read(0, 0)  # raises if standard input was closed, although its number may be in use
                self._file = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
            else:
                os.stat(self.path)
                # A named pipe is opened by the reading thread, since that waits for a writer.
                if not Path(self.path).is_fifo():
                    self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"{self._name}: {error.strerror}; give a file of JSON lines, or '-'") from error

    def status(self) -> os.stat_result | None:
        """What the system knows of the file; None before it is open."""
        return None if self._file is None else os.fstat(self._file.fileno())

    def read(self) -> list[bytes]:
        """The next lines, without their line feeds; an empty list at the end. Blocks."""
        if self._file is None:
            self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115
        while piece := self._file.read(PIECE):
            first, *others = piece.split(b"\n")
            self._parts.append(first)
            if others:
                lines = [b"".join(self._parts), *others[:-1]]
                self._parts = [others[-1]]
                self._size = len(others[-1])
                return lines
            self._size += len(first)
            if self._size > MAX_LINE:
                raise ConfigError(
                    f"{self._name}: a line is longer than {MAX_LINE // 2**20} MiB; give a file of JSON lines"
                )
        last = b"".join(self._parts)
        self._parts = []
        return [last] if last else []

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._file is not None:
            self._file.close()


def body_of(text: bytes, serializer: Serializer | None, where: str) -> bytes:
    """The body that a line is for a queue: itself, where the queue is of JSON or of bytes; else serialized anew.

    Raises:
        ConfigError: it must be serialized, and is not JSON or does not fit the format.
    """
    if serializer is None or serializer.format == "json":
        return text
    try:
        return serializer.serialize(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{where}: it is not valid JSON: {error}") from error
    # A serializer may raise anything.
    except Exception as error:
        wanted = serializer.format or type(serializer).__name__
        raise ConfigError(f"{where}: it cannot be written as {wanted}: {error}") from error
