"""Feeds a file of JSON lines into a queue, and collects the messages of a queue into such a file."""

from __future__ import annotations

import asyncio
import codecs
import stat
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, Protocol

import orjson

from penstock.cli.lines_file import Existing, open_lines
from penstock.errors import ConnectorError
from penstock.message import ERROR_STAGE, QueueMessage, Record
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health
from penstock.operations.lines import LineReader, body_of
from penstock.operations.peek import text_or_base64
from penstock.pipeline.settlement import StopEngine
from penstock.queues.queue import OutputQueue
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.queues.threads import DaemonThreadPool
from penstock.serializers import Serializer
from penstock.terminal.bars import Bar

BACKLOG = 10_000  # waiting messages at which feeding pauses, so that a large file is never in memory
BACKLOG_LOOK = 0.01  # seconds between two checks of the backlog


class Backlog(Protocol):
    """How many messages wait in the queue that is fed; None if no engine of this run consumes it."""

    def __call__(self) -> Awaitable[int | None]: ...


class Feed:
    """Produces each line of a file as one message; blank lines are skipped.

    A line goes unchanged to a queue of JSON or of bytes; for another format it is parsed and serialized. What comes
    through a pipe is fed as it comes.

    Args:
        path: The file; "-" is standard input.
        queue: Finds the queue, resolved for output.
        backlog: How many messages wait in it.

    Attributes:
        fed: Lines confirmed by the queue so far, blank ones not counted.
    """

    def __init__(self, path: str, queue: Callable[[], ResolvedQueue], backlog: Backlog) -> None:
        self.path = path
        self.fed = 0
        self._bar = Bar(str(self))
        self._find_queue = queue
        self._backlog = backlog
        self._reader = LineReader(path, f"--feed {path}")
        self._stopped = asyncio.Event()
        self._producing = False
        self._through = False
        self._line = 0  # the last confirmed line of the file, blank ones counted
        self._offset = 0  # the same in bytes
        self._whole = 0  # bytes of the file; a pipe has none
        self._sending = 0  # lines after it that were being sent
        self._left: str | None = f"{self} was not begun"

    def start(self, health: Health, metrics: MetricsRegistry) -> Feed:  # noqa: ARG002  (a feed has no engine's metrics)
        """Open the file, so that a missing one is an error before anything runs.

        Raises:
            ConfigError: it cannot be read.
        """
        self._reader.open()
        if (status := self._reader.status()) is not None:
            self._whole = status.st_size
        self._queue = OutputQueue(self._find_queue(), health=health)
        return self

    async def run(self, connect_timeout: float | None, shutdown_timeout: float) -> None:
        """Feed the whole file. A stop waits only for the records being sent, `shutdown_timeout` seconds at most."""
        reader = DaemonThreadPool("penstock-feed")
        feeding = asyncio.create_task(self._feed(connect_timeout, reader))
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({feeding, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if self._producing:
                await asyncio.wait({feeding}, timeout=shutdown_timeout)
        finally:
            feeding.cancel()
            stopped.cancel()
            await asyncio.gather(feeding, stopped, return_exceptions=True)
            if self._left is not None:
                self._left = self._what_is_left()
            self._through = True
            reader.close()
            await self._queue.close()
            self._queue.remove_from_health()  # the worker continues, and is ready without it
        if not feeding.cancelled():
            feeding.result()

    async def _feed(self, connect_timeout: float | None, reader: DaemonThreadPool) -> None:
        await self._queue.open(connect_timeout)
        while not self._stopped.is_set():
            if not (lines := await reader.submit(self._reader.read)):
                self._left = None
                return
            self._producing, self._sending = True, len(lines)
            await self._produce(lines, self._line)
            self._producing, self._sending = False, 0
            self._line += len(lines)
            self._offset += sum(map(len, lines)) + len(lines)
            while (await self._backlog() or 0) > BACKLOG:  # noqa: ASYNC110  (the backlog of a broker sets no event)
                await asyncio.sleep(BACKLOG_LOOK)

    async def _produce(self, lines: Sequence[bytes], before: int) -> None:
        if before == 0:
            lines = [lines[0].removeprefix(codecs.BOM_UTF8), *lines[1:]]
        numbered = [(number, line.rstrip(b"\r")) for number, line in enumerate(lines, before + 1) if line.strip()]
        serializer = self._queue.resolved.serializer
        records = [Record(body_of(line, serializer, f"{self}, line {number}")) for number, line in numbered]
        errors = await self._queue.produce(records)
        for (number, _line), error in zip(numbered, errors, strict=False):
            if error is not None:
                raise ConnectorError(f"--feed {self.path}, line {number}: {error}")
        self.fed += len(records)

    def left(self) -> str | None:
        """A sentence about what was not fed; None if the whole file was."""
        return self._left

    def _what_is_left(self) -> str | None:
        if (status := self._reader.status()) is None:
            return self._left  # a pipe without a writer so far
        fed = f"{self}: {self.fed:,} lines were fed"
        if not stat.S_ISREG(status.st_mode):
            return f"{fed}; it was not read to its end"
        rest = status.st_size - self._offset
        if rest <= 0:
            return None
        unsure = f" (some of the next {self._sending:,} lines, too, perhaps)" if self._sending else ""
        return f"{fed}{unsure}; {rest:,} of {status.st_size:,} bytes were not, from line {self._line + 1:,} on"

    @property
    def bar(self) -> Bar:
        """How far it is. The lines of a file are estimated: as if those to come were as long as those before."""
        self._bar.done = self.fed
        if self._whole and self._offset:
            self._bar.total = round(self.fed * max(self._whole / self._offset, 1))
        return self._bar

    def __str__(self) -> str:
        return f"--feed {self.path}"

    def stop(self) -> None:
        """Stop feeding."""
        self._stopped.set()

    def drain(self) -> None:
        """Nothing to do: a feed ends with its file."""

    async def idle_since(self) -> float | None:
        """Idle once the whole file is fed."""
        return monotonic() if self._through else None

    def close(self) -> None:
        """Close the file, if it was opened."""
        self._reader.close()


class Collector:
    """Writes each message of a queue as one JSON line: the function of an engine that `--collect` adds.

    With a serializer the line is the decoded body. Without one, for a dead letter, or where the body is not of the
    queue's format, it is an object with `body` (or `body_base64`, where it is not text), `key` and `headers`.

    Args:
        path: The file; "-" is standard output.
        serializer: The queue's own.
        existing: What to do with a file that holds something. It is never replaced unless "overwrite" says so.

    Raises:
        ConfigError: the file cannot be written, holds something, or another run is writing to it.
    """

    def __init__(self, path: str, serializer: Serializer | None, existing: Existing = "reject") -> None:
        self._serializer = serializer
        self._path = path
        choices = "add --append to write behind what it holds, --overwrite to replace that"
        self._file = open_lines(path, existing, f"--collect {path}", choices)

    def __call__(self, bodies: list[bytes | None], msg_ctx: list[QueueMessage]) -> None:
        """Write a batch. It is on the disk when this returns; only then are the messages settled.

        Raises:
            StopEngine: it could not be written.
        """
        lines = [self._line(body, message) for body, message in zip(bodies, msg_ctx, strict=True)]
        try:
            self._file.append(lines)
        except OSError as error:
            raise StopEngine(
                f"--collect {self._path}: {error.strerror}; what is not in the file is not settled and stays in its "
                f"queue: mend the cause, then collect the rest with --append"
            ) from error

    def finish(self) -> None:
        """Note that the run has succeeded; see `LinesFile.finish`."""
        self._file.finish()

    def close(self) -> None:
        """Close the file; standard output stays open."""
        self._file.close()

    def _line(self, body: bytes | None, message: QueueMessage) -> bytes:
        # The reasons of a dead letter are in its headers, so a line of the body alone would lose them.
        if self._serializer is not None and body is not None and not _is_dead_letter(message):
            try:
                data = self._serializer.deserialize(body)
                # Unchanged if it is one line: numbers keep their digits, and objects their spaces.
                return body if self._serializer.format == "json" and b"\n" not in body else orjson.dumps(data)
            except Exception:  # noqa: BLE001, S110  (the body is not of this format, so it is shown as it is)
                pass
        return orjson.dumps(_as_object(body, message))


def _is_dead_letter(message: QueueMessage) -> bool:
    return any(name == ERROR_STAGE for name, _value in message.headers)


def _as_object(body: bytes | None, message: QueueMessage) -> dict[str, Any]:
    shown: dict[str, Any] = {"body": None} if body is None else text_or_base64("body", body)
    if message.key is not None:
        shown |= text_or_base64("key", message.key)
    if message.headers:
        shown["headers"] = [
            [name, None if value is None else value.decode("utf-8", "backslashreplace")]
            for name, value in message.headers
        ]
    return shown
