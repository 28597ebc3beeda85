"""Publishes JSON texts to one queue, and counts what is confirmed.

async with open_queue.publish("queues.yml", "orders") as queue:
    publisher = Publisher(queue)
    await publisher.publish([(b'{"count": 1}', "the message")])
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from penstock.errors import ConfigError, ConnectorError
from penstock.message import Headers, Record
from penstock.operations.lines import LineReader, body_of
from penstock.queues.queue import OutputQueue
from penstock.queues.threads import DaemonThreadPool
from penstock.serializers import Serializer

MOST_TOGETHER = 2**24  # bytes of a file that is one JSON text over several lines

Text = tuple[bytes, str]
"""What becomes one message, and where it was written, for errors."""


class Publisher:
    """Publishes to an open queue.

    Args:
        queue: The queue.
        key, headers, delay: What each message has.

    Attributes:
        serializer: The queue's own.
        stored: How many messages the backend has confirmed.
        unsure: How many more are on their way, so that an interruption leaves them unknown.

    Raises:
        FunctionError: the connector has no place for what each message is to have.
    """

    def __init__(
        self, queue: OutputQueue, *, key: bytes | None = None, headers: Headers = (), delay: float = 0.0
    ) -> None:
        self.stored = 0
        self.unsure = 0
        self.serializer = queue.resolved.serializer
        self._queue = queue
        self._key = key
        self._headers = headers
        self._delay = delay
        if not queue.any_body and (key is not None or headers):
            raise ConfigError(f"{queue}: it stores rows, which have no place for a key or headers; leave them out")
        queue.check(self._record(b""))

    def _record(self, body: bytes) -> Record:
        return Record(body, self._key, self._headers, self._delay)

    async def publish(self, texts: Sequence[Text]) -> None:
        """Publish, and wait until each is confirmed; a backend that goes away is waited for.

        Raises:
            ConfigError: a text cannot be a message of this queue; none of these texts was sent.
            ConnectorError: the backend refused some for good; the others are stored.
        """
        records = [self._record(encoded(text, self.serializer, where)) for text, where in texts]
        self.unsure = len(records)
        errors = await self._queue.produce(records)
        refused = [(where, error) for (_text, where), error in zip(texts, errors, strict=False) if error is not None]
        self.unsure = 0
        self.stored += len(records) - len(refused)
        if refused:
            others = f" (and {len(refused) - 1} more of these lines)" if len(refused) > 1 else ""
            raise ConnectorError(f"{refused[0][0]}{others}: {refused[0][1]}")


def encoded(text: bytes, serializer: Serializer | None, where: str) -> bytes:
    """The body for a JSON text. A queue of bytes takes any text.

    Raises:
        ConfigError: it is not JSON, or does not fit the queue's format; with line and column.
    """
    if serializer is not None and (problem := json_problem(text)) is not None:
        raise ConfigError(f"{where}, {problem}")
    return body_of(text, serializer, where)


def json_problem(text: bytes) -> str | None:
    """Where a text is not JSON, and why; None if it is. The text itself is not shown."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        line = f"line {error.lineno} of it, " if error.lineno > 1 else ""
        return f"{line}column {error.colno}: it is not valid JSON: {error.msg}"
    return None


async def publish_lines(publisher: Publisher, path: str) -> None:
    """Publish each line of a file ("-": standard input); one JSON text over several lines is one message.

    A file is read twice, so that nothing is sent unless all of its lines can be messages. What comes through a pipe is
    sent as it comes.

    Raises:
        ConfigError: the file cannot be read, or a line cannot be a message.
        ConnectorError: the backend refused some for good.
    """
    serializer = publisher.serializer
    thread = DaemonThreadPool("penstock-publish")

    def check() -> None:
        for texts in read_texts(path, serializer) if Path(path).is_file() else ():
            for text, where in texts:
                encoded(text, serializer, where)

    try:
        await thread.submit(check)
        pieces = read_texts(path, serializer)
        while (texts := await thread.submit(next, pieces, None)) is not None:
            await publisher.publish(texts)
    finally:
        thread.close()


def read_texts(path: str, serializer: Serializer | None) -> Iterator[Sequence[Text]]:
    """The texts of a file, some at a time; blank lines are skipped. Blocks.

    Raises:
        ConfigError: the file cannot be read.
    """
    name = "standard input" if path == "-" else path
    reader = LineReader(path, name)
    reader.open()
    try:
        number = 0
        while lines := reader.read():
            if number == 0:
                lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
                if serializer is not None and _begins_a_text(lines):
                    lines = _with_the_rest(lines, reader)
                    if _is_one_text(lines):
                        yield [(b"\n".join(lines), name)]
                        return
            numbered = enumerate(lines, number + 1)
            number += len(lines)
            yield [(line.rstrip(b"\r"), f"{name}, line {place}") for place, line in numbered if line.strip()]
    finally:
        reader.close()


def _begins_a_text(lines: Sequence[bytes]) -> bool:
    first = next((line for line in lines if line.strip()), b"0")
    return json_problem(first) is not None


def _with_the_rest(lines: list[bytes], reader: LineReader) -> list[bytes]:
    while sum(map(len, lines)) < MOST_TOGETHER and (more := reader.read()):
        lines += more
    return lines


def _is_one_text(lines: Sequence[bytes]) -> bool:
    """Whether lines belong together: neither of the first two is JSON by itself."""
    first = [line for line in lines if line.strip()][:2]
    return len(first) == 2 and all(json_problem(line) is not None for line in first)
