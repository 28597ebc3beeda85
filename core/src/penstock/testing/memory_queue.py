"""A queue in memory in the place of a backend's: what was put there, and what became of it.

The messages lie in a queue of the connector `memory`, found by its name; order, attempts and settling are its own.
What is delayed is held back here, by the clock of the event loop, since `memory` goes by the real one.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Protocol

from penstock import envelope
from penstock.connectors import Consumer, Producer
from penstock.errors import ProduceError
from penstock.message import QueueMessage, Record
from penstock.testing.fault_injection import ConsumerFaults, ProducerFaults

if TYPE_CHECKING:
    from penstock.testing.fakes import FakeConsumer


class Watcher(Protocol):
    """What the fakes ask of the harness."""

    async def calls_finished(self) -> None:
        """Return when no function is being called on a thread."""

    def look(self) -> None:
        """A consumer has found nothing: everything may be at rest now."""


class MessageHistory:
    """What became of one message of an input queue.

    Attributes:
        body, key, headers: As they were delivered first.
        deliveries: Each delivery, and the number of its first attempt.
        settled: For good.
    """

    def __init__(self, message: QueueMessage) -> None:
        # An engine opens an envelope in place, and counts attempts in place.
        self.body, self.key, self.headers = message.message, message.key, message.headers
        self.deliveries: list[tuple[QueueMessage, int]] = []
        self.settled = False

    @property
    def tries(self) -> int:
        """How often an engine tried it."""
        return sum(1 + message.attempts - first for message, first in self.deliveries)


class MemoryQueue:
    """One queue in memory, whatever it is in production.

    Args:
        value: The backend's name of it.
        new_consumer, new_producer: Make a connector `memory` for it.
        watcher: The harness.

    Attributes:
        records: What engines have stored here, in order, as they sent it.
        stored: How many messages were put here, by engines or by the test; what is held back is not yet counted.
        histories: What became of those that were delivered, by position.
        consumers: Those of the engines that run.
        consumer_faults, producer_faults: What goes wrong.
    """

    def __init__(
        self,
        value: str,
        new_consumer: Callable[[], Consumer],
        new_producer: Callable[[], Producer],
        watcher: Watcher,
    ) -> None:
        self.value = value
        self.new_consumer = new_consumer
        self.watcher = watcher
        self.records: list[Record] = []
        self.stored = 0
        self.histories: dict[str, MessageHistory] = {}
        self.consumers: list[FakeConsumer] = []
        self.consumer_faults = ConsumerFaults(value)
        self.producer_faults = ProducerFaults(value)
        self.copies: deque[QueueMessage] = deque()  # settled, and to be delivered once more all the same
        self._sent: deque[Record] = deque()
        self._delayed: list[tuple[float, int, Record]] = []  # by the time they are due
        self._number = count()
        self._new_producer = new_producer
        self._producer: Producer | None = None

    @property
    def waiting(self) -> int:
        """Messages that are not settled, wherever they are."""
        settled = sum(history.settled for history in self.histories.values())
        return self.stored - settled + len(self.copies) + len(self._sent) + len(self._delayed)

    @property
    def fresh(self) -> bool:
        """Whether there are messages at hand that `memory` does not know of yet."""
        return bool(self.copies or self._sent)

    @property
    def next_due(self) -> float:
        """When, by the event loop, the next record that is held back is due; infinity if there is none."""
        return self._delayed[0][0] if self._delayed else math.inf

    def send(self, record: Record) -> None:
        """Put a record here as some other program would. Safe from any thread."""
        self._sent.append(record)

    async def store(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Put records here as an engine's producer does, and wake whoever waits for messages."""
        answers = list(await self._append(records))
        self.records += [record for record, error in zip(records, answers, strict=True) if error is None]
        self.wake()
        return answers

    async def bring(self) -> None:
        """Hand to `memory` what the test has sent and what has been held back long enough."""
        sent = [self._sent.popleft() for _ in range(len(self._sent))]
        errors = list(await self._append(sent))
        now = asyncio.get_running_loop().time()
        due = []
        while self._delayed and self._delayed[0][0] <= now:
            due.append(heappop(self._delayed)[2])
        errors += await self._append([_undelayed(record) for record in due])
        for error in errors:
            if error is not None:
                raise error

    def wake(self) -> None:
        """Let every consumer look again."""
        for consumer in self.consumers:
            consumer.wake()

    async def close(self) -> None:
        """Let go of `memory` until it is used again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.shutdown()

    async def _append(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        if not records:
            return ()
        if self._producer is None:
            self._producer = self._new_producer()
            await self._producer.connect()
        now = asyncio.get_running_loop().time()
        at_once: list[Record] = []
        for record in records:
            if record.delay:
                heappush(self._delayed, (now + record.delay, next(self._number), record))
            else:
                at_once.append(record)
        # Keywords are the real connector's; `memory` would refuse them.
        answers = iter(await self._producer.produce([Record(r.message, r.key, r.headers) for r in at_once]))
        results = [None if record.delay else next(answers) for record in records]
        self.stored += sum(not record.delay and error is None for record, error in zip(records, results, strict=True))
        return results


def _undelayed(record: Record) -> Record:
    return Record(record.message, record.key, record.headers)


def as_sent(record: Record) -> Record:
    """A record without the envelope in which a backend without headers or keys carries it."""
    opened = None if record.message is None else envelope.unwrap(record.message)
    if opened is None:
        return record
    body, key, headers = opened
    return Record(body, key, headers, record.delay, record.options)
