"""Feeds a file of JSON lines into a queue, and collects what reaches a queue into one: real data without a broker."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import IO, Any, Protocol

import orjson

from penstock.config.resolve import ResolvedQueue
from penstock.errors import ConfigError, ConnectorError
from penstock.health import Health
from penstock.message import QueueMessage, Record
from penstock.metrics import MetricsRegistry
from penstock.queues import OutputQueue
from penstock.serializers import Serializer
from penstock.threads import Threads

CHUNK = 1_000  # lines that are read and produced together
BACKLOG = 10_000  # messages waiting in the queue past which feeding pauses, so that a large file is never in memory
BACKLOG_LOOK = 0.01  # seconds between two looks at the backlog


class Backlog(Protocol):
    """Tells how many messages wait in the queue that is fed; None if nothing here consumes it."""

    def __call__(self) -> Awaitable[int | None]: ...


class Feed:
    """Produces each line of a file as one message.

    A line goes as it is to a queue of JSON or of bytes; for another format it is parsed and serialized.

    Args:
        path: The file; "-" is standard input.
        queue: Finds the queue, resolved for output.
        backlog: How many messages wait in it.

    Attributes:
        fed: Lines confirmed by the queue so far.
    """

    def __init__(self, path: str, queue: Callable[[], ResolvedQueue], backlog: Backlog) -> None:
        self.path = path
        self.fed = 0
        self._find_queue = queue
        self._backlog = backlog
        self._stopped = False
        self._through = False

    def start(self, health: Health, metrics: MetricsRegistry) -> Feed:  # noqa: ARG002  (a feed has no engine's metrics)
        """Open the file, so that a missing one is an error before anything runs.

        Raises:
            ConfigError: it cannot be read.
        """
        try:
            self._file: IO[bytes] = sys.stdin.buffer if self.path == "-" else open(self.path, "rb")  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"--feed {self.path}: {error.strerror}; give a file of JSON lines, or '-'") from error
        self._queue = OutputQueue(self._find_queue(), health=health)
        return self

    async def run(self, patience: float | None, grace: float) -> None:  # noqa: ARG002  (a chunk takes no time worth bounding)
        """Feed the whole file."""
        reader = Threads("penstock-feed")
        await self._queue.open(patience)
        try:
            number = 0
            while not self._stopped and (lines := await reader.submit(self._read)):
                await self._produce(lines, number)
                number += len(lines)
                await self._wait_for_backlog()
        finally:
            self._through = True
            reader.close()
            await self._queue.close()
            if self._file is not sys.stdin.buffer:
                self._file.close()

    def _read(self) -> list[bytes]:
        lines: list[bytes] = []
        while len(lines) < CHUNK and (line := self._file.readline()):
            lines.append(line.rstrip(b"\r\n"))
            if self.path == "-" and sys.stdin.isatty():
                break  # a person types: every line goes at once
        return lines

    async def _produce(self, lines: Sequence[bytes], before: int) -> None:
        numbered = [(before + i, line) for i, line in enumerate(lines, 1) if line.strip()]
        records = [Record(self._encode(line, number)) for number, line in numbered]
        errors = await self._queue.produce(records)
        for (number, _line), error in zip(numbered, errors, strict=False):
            if error is not None:
                raise ConnectorError(f"--feed {self.path}, line {number}: {error}")
        self.fed += len(records)

    def _encode(self, line: bytes, number: int) -> bytes:
        serializer = self._queue.resolved.serializer
        if serializer is None or serializer.format == "json":
            return line
        try:
            return serializer.serialize(orjson.loads(line))
        except ValueError as error:
            raise ConfigError(f"--feed {self.path}, line {number}: it is not valid JSON: {error}") from error

    async def _wait_for_backlog(self) -> None:
        while not self._stopped and (await self._backlog() or 0) > BACKLOG:
            await asyncio.sleep(BACKLOG_LOOK)

    def stop(self) -> None:
        """Feed no further."""
        self._stopped = True

    def drain(self) -> None:
        """The end of the file is the end of a feed anyway."""

    async def quiet_since(self) -> float | None:
        """Always quiet once the file is through."""
        return monotonic() if self._through else None


class Collector:
    """Writes each message of a queue as one JSON line: the function of an engine that `--collect` adds.

    With a serializer the line is the decoded body; without one it is an object with `body` (or `body_base64`, where it is
    no text), `key` and `headers`.

    Args:
        path: The file, replaced if it is there; "-" is standard output.
        serializer: The queue's own.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: str, serializer: Serializer | None) -> None:
        self._serializer = serializer
        try:
            self._file: IO[bytes] = sys.stdout.buffer if path == "-" else open(path, "wb")  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"--collect {path}: {error.strerror}") from error

    def __call__(self, bodies: list[bytes | None], msg_ctx: list[QueueMessage]) -> None:
        """Write a batch. It is with the operating system when this returns; only then are the messages settled."""
        lines = [self._line(body, message) for body, message in zip(bodies, msg_ctx, strict=True)]
        self._file.write(b"\n".join(lines) + b"\n")
        self._file.flush()

    def _line(self, body: bytes | None, message: QueueMessage) -> bytes:
        if self._serializer is not None and body is not None:
            if self._serializer.format == "json" and b"\n" not in body:
                return body
            try:
                return orjson.dumps(self._serializer.deserialize(body))
            except (ValueError, TypeError):
                pass  # not of this queue's format: shown as what it is, below
        return orjson.dumps(_as_object(body, message))


def _as_object(body: bytes | None, message: QueueMessage) -> dict[str, Any]:
    shown: dict[str, Any] = {"body": None} if body is None else _text("body", body)
    if message.key is not None:
        shown |= _text("key", message.key)
    if message.headers:
        shown["headers"] = [[name, value.decode("utf-8", "backslashreplace")] for name, value in message.headers]
    return shown


def _text(name: str, value: bytes) -> dict[str, str]:
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}
