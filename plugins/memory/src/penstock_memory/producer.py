"""The producer: stores records, and waits when the queue is full."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from penstock.bulk import record_size
from penstock.client_slot import ClientSlot
from penstock.connectors import Created, Probed, Producer
from penstock.errors import ProduceError
from penstock.message import Headers, Record
from penstock_memory.namespaces import queue
from penstock_memory.options import MemoryOptions
from penstock_memory.process_queue import ProcessQueue
from penstock_memory.queue import Queue
from penstock_memory.wake_up import WakeUp

FULL_TIMEOUT = 10.0
"""Seconds that `produce` waits for room before it answers. Longer, and an engine that wants to stop would seem hung."""

MAX_BODY = 128 * 2**20
"""Bytes of a body. A queue in memory is not the place for more."""

MAX_KEY = MAX_HEADERS = 2**20
"""Bytes of a key, and of all headers of a record."""

LOOK_FOR_ROOM = 0.01
"""Seconds between two looks for room in a `multiprocessing.Queue`, which does not signal room."""


class MemoryProducer(Producer):
    """Produces to the queue `name`."""

    options: MemoryOptions

    def __init__(self, name: str, options: MemoryOptions) -> None:
        super().__init__(name, options)
        # How records are stored, once connected: returns how many found room in time, the first ones.
        self._store = ClientSlot[Callable[[Sequence[Record]], Awaitable[int]]](f"the producer of {name!r}")
        # One call at a time, so that a call that began earlier comes first also when it waits for room.
        self._turn = asyncio.Lock()

    async def connect(self) -> None:
        """Open the queue; it is made on first use."""
        if not self._store.is_open:
            given = self.options.queue
            if given is None:
                self._store.put(partial(self._append, queue(self.options.namespace, self.name)))
            else:
                self._store.put(partial(self._put, ProcessQueue(given, self.name)))

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Store records. What finds no room in time is refused for now; what is not a legal record, for good."""
        store = self._store.get()
        answers = [refusal(record) for record in records]
        # Almost always the list as it came: success pays nothing for failure.
        legal = [r for r, no in zip(records, answers, strict=True) if no is None] if any(answers) else records
        async with self._turn:
            stored = await store(legal)
        if stored < len(legal):
            self._refuse_all_after(stored, answers)
        return answers

    async def _append(self, target: Queue, records: Sequence[Record]) -> int:
        stored = target.append(records, self.options.max_length)
        if stored == len(records):
            return stored
        wake_up, deadline = WakeUp(), time.monotonic() + FULL_TIMEOUT
        try:
            while True:
                wake_up.reset()
                stored += target.append(records[stored:], self.options.max_length, wake_up.wake)
                remaining = deadline - time.monotonic()
                if stored == len(records) or remaining <= 0:
                    return stored
                await wake_up.wait(remaining)
        finally:
            target.forget(wake_up.wake)

    async def _put(self, target: ProcessQueue, records: Sequence[Record]) -> int:
        deadline = time.monotonic() + FULL_TIMEOUT
        for stored, record in enumerate(records):
            while not target.put(record, 0):
                if time.monotonic() >= deadline:
                    return stored
                await asyncio.sleep(LOOK_FOR_ROOM)
        return len(records)

    def _refuse_all_after(self, stored: int, answers: list[ProduceError | None]) -> None:
        if self.options.queue is None:
            full = f"for {FULL_TIMEOUT:g} s it has held max_length ({self.options.max_length}) unsettled messages"
            remedy = "consume faster, or raise max_length"
        else:
            full = f"for {FULL_TIMEOUT:g} s its multiprocessing.Queue has had no room"
            remedy = "consume faster, or make it with a larger maxsize"
        legal = [index for index, no in enumerate(answers) if no is None]
        for index in legal[stored:]:
            answers[index] = ProduceError(f"queue {self.name!r} is full: {full}; {remedy}")

    async def create(self) -> Created:
        """See `Producer.create`. There is nothing to do before the first use."""
        return Created(existed=True, what="in memory: it lives in one process, which makes it on first use")

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`. There is no server."""
        return [Probed("reachable", True, "a queue of the worker's own process")]

    async def shutdown(self) -> None:
        """Close; nothing is buffered."""
        self._store.close()


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
        return ProduceError(f"the connector 'memory' has no producer keyword {names}", retriable=False)
    return None


def _are_headers(headers: Headers) -> bool:
    legal = all(type(name) is str and (value is None or type(value) is bytes) for name, value in headers)
    return legal and record_size(Record(None, headers=headers)) <= MAX_HEADERS
