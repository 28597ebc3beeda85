"""A queue in memory that replaces a backend's: the messages that were put there, and what happened to them.

The messages are in a queue of the connector `memory`, which does ordering, attempts and settling. Delayed messages are
held back here, by the clock of the event loop, because `memory` uses the real clock.
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
    """The part of the harness that the fake connectors call."""

    async def calls_finished(self) -> None:
        """Return when no function call is running on a thread."""

    def look(self) -> None:
        """A consumer has found no message, so all engines may be idle now."""


class MessageHistory:
    """What happened to one message of an input queue.

    Attributes:
        body, key, headers: As they were at the first delivery.
        deliveries: Each delivery with the number of its first attempt.
        settled: Whether it was settled.
    """

    def __init__(self, message: QueueMessage) -> None:
        # Copied, because an engine opens an envelope in place.
        self.body, self.key, self.headers = message.message, message.key, message.headers
        self.deliveries: list[tuple[QueueMessage, int]] = []
        self.settled = False

    @property
    def tries(self) -> int:
        """How often an engine tried it."""
        return sum(1 + message.attempts - first for message, first in self.deliveries)


class MemoryQueue:
    """One queue in memory, whatever its connector is in production.

    Args:
        value: The backend's name of it.
        new_consumer, new_producer: Make a consumer or producer of `memory` for it.
        watcher: The harness.

    Attributes:
        records: The records that engines have sent here, in order.
        stored: How many messages engines or the test have put here. Delayed messages count when they are due.
        histories: The history of each delivered message, by position.
        consumers: The consumers of the running engines.
        consumer_faults, producer_faults: The faults to inject.
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
        self.copies: deque[QueueMessage] = deque()  # settled, and to be delivered once more by a fault
        self._sent: deque[Record] = deque()
        self._delayed: list[tuple[float, int, Record]] = []  # by the time they are due
        self._number = count()
        self._new_producer = new_producer
        self._producer: Producer | None = None

    @property
    def waiting(self) -> int:
        """The number of messages that are not settled."""
        settled = sum(history.settled for history in self.histories.values())
        return self.stored - settled + len(self.copies) + len(self._sent) + len(self._delayed)

    @property
    def fresh(self) -> bool:
        """Whether there are messages that `memory` has not been given yet."""
        return bool(self.copies or self._sent)

    @property
    def next_due(self) -> float:
        """When the next delayed record is due, by the event loop's clock; infinity without one."""
        return self._delayed[0][0] if self._delayed else math.inf

    def send(self, record: Record) -> None:
        """Put a record here, as another program would. Safe from any thread."""
        self._sent.append(record)

    async def store(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Put records here, as an engine's producer does, and wake the consumers that wait."""
        answers = list(await self._append(records))
        self.records += [record for record, error in zip(records, answers, strict=True) if error is None]
        self.wake()
        return answers

    async def bring(self) -> None:
        """Give `memory` the records that the test has sent and those whose delay is over."""
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
        """Close the producer of `memory`. It is opened again when it is needed."""
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
        # Without options, which are the real connector's; `memory` would refuse them.
        answers = iter(await self._producer.produce([Record(r.message, r.key, r.headers) for r in at_once]))
        results = [None if record.delay else next(answers) for record in records]
        self.stored += sum(not record.delay and error is None for record, error in zip(records, results, strict=True))
        return results


def _undelayed(record: Record) -> Record:
    return Record(record.message, record.key, record.headers)


def as_sent(record: Record) -> Record:
    """Take a record out of its envelope, if it has one."""
    opened = None if record.message is None else envelope.unwrap(record.message)
    if opened is None:
        return record
    body, key, headers = opened
    return Record(body, key, headers, record.delay, record.options)
