"""The producer: stores records, and waits when the queue is full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.connectors import Producer
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Headers, Record
from penstock_memory.local import LocalOutbox
from penstock_memory.namespaces import queue
from penstock_memory.options import MemoryOptions

if TYPE_CHECKING:
    from penstock_memory.remote import RemoteOutbox

PATIENCE = 10.0
"""Seconds that `produce` waits for room before it answers. Longer, and an engine that wants to stop would seem hung."""

MAX_BODY = 128 * 2**20
"""Bytes of a body. A queue in memory is no place for more, and a broker's frame must hold it."""

MAX_KEY = MAX_HEADERS = 2**20
"""Bytes of a key, and of all headers of a record."""


class MemoryProducer(Producer):
    """Produces to the queue `name`."""

    options: MemoryOptions

    def __init__(self, name: str, options: MemoryOptions) -> None:
        super().__init__(name, options)
        self._outbox: LocalOutbox | RemoteOutbox | None = None

    async def connect(self) -> None:
        """Open the queue; it is made if nobody has used it yet, and so is the broker."""
        if self._outbox is not None and self._outbox.lost:
            await self._outbox.close()
            self._outbox = None
        if self._outbox is None:
            self._outbox = await open_outbox(self.name, self.options)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Store records. What finds no room in time is refused for now; what is no legal record, for good."""
        if self._outbox is None:
            raise ConnectorError(
                f"the producer of {self.name!r} is not open; call connect first, nothing after shutdown"
            )
        answers = [refusal(record) for record in records]
        # Almost always the list as it came: success pays nothing for failure.
        legal = [r for r, no in zip(records, answers, strict=True) if no is None] if any(answers) else records
        stored = await self._outbox.append(legal, PATIENCE)
        if stored < len(legal):
            self._refuse_all_after(stored, answers)
        return answers

    def _refuse_all_after(self, stored: int, answers: list[ProduceError | None]) -> None:
        legal = [index for index, no in enumerate(answers) if no is None]
        for index in legal[stored:]:
            answers[index] = ProduceError(
                f"queue {self.name!r} is full: for {PATIENCE:g} s it has held max_length ({self.options.max_length})"
                " unsettled messages; consume faster, or raise max_length"
            )

    async def shutdown(self) -> None:
        """Close; nothing is buffered."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            await outbox.close()


async def open_outbox(name: str, options: MemoryOptions) -> LocalOutbox | RemoteOutbox:
    """The producer's side of a queue, in this process or in a broker."""
    if options.url is None:
        return LocalOutbox(queue(options.namespace, name), options.max_length)
    # Imported here, because a queue of this process needs no subprocess and no sockets.
    from penstock_memory.remote import RemoteOutbox

    return await RemoteOutbox.open(name, options)


def refusal(record: Record) -> ProduceError | None:
    """Why a record can never be stored; None if it can."""
    body, key = record.message, record.key
    if body is not None and (type(body) is not bytes or len(body) > MAX_BODY):
        found = f"{len(body)} bytes" if isinstance(body, bytes) else type(body).__name__
        return ProduceError(f"a body is None or up to {MAX_BODY} bytes, not {found}", retriable=False)
    if key is not None and (type(key) is not bytes or len(key) > MAX_KEY):
        found = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        return ProduceError(f"a key is None or up to {MAX_KEY} bytes, not {found}", retriable=False)
    if record.headers and not _are_headers(record.headers):
        return ProduceError(
            f"headers are pairs of str and bytes or None, up to {MAX_HEADERS} bytes in all", retriable=False
        )
    if record.delay and not 0 <= record.delay < math.inf:
        return ProduceError(f"a delay is a number of seconds from 0, not {record.delay}", retriable=False)
    if record.options:
        names = ", ".join(sorted(record.options))
        return ProduceError(f"the connector 'memory' knows no producer keyword {names}", retriable=False)
    return None


def _are_headers(headers: Headers) -> bool:
    size = 0
    for name, value in headers:
        if type(name) is not str or not (value is None or type(value) is bytes):
            return False
        size += len(name) + len(value or b"")
    return size <= MAX_HEADERS
