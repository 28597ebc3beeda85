"""What stands in for a backend in a harness: a queue in memory, and the connectors between it and an engine.

The messages lie in the queues of the connector `memory`, found by its name; order, attempts and settling are its own.
What the connectors here add is all that has to do with time, since `memory` measures that by the real clock: they wait
for messages, and hold back what is delayed, by the clock of the event loop. And they do what the faults tell them.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, ClassVar, Protocol

from penstock import envelope
from penstock.capabilities import Capabilities
from penstock.connectors import Consumer, Producer
from penstock.errors import NotConnected, ProduceError
from penstock.message import QueueMessage, Record
from penstock.testing.faults import TOLD, ConsumerFaults, ProducerFaults

IDLE = 60.0  # seconds that an engine is kept waiting for messages: whatever else it might wait for, a stop, wakes it


class Watcher(Protocol):
    """What the stand-ins ask of the harness."""

    async def functions_at_rest(self) -> None:
        """Return when no function is being called on a thread."""

    def look(self) -> None:
        """A consumer has found nothing: everything may be at rest now."""


class Story:
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
        stories: What became of those that were delivered, by position.
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
        self.stories: dict[str, Story] = {}
        self.consumers: list[StandInConsumer] = []
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
        settled = sum(story.settled for story in self.stories.values())
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


class StandInConsumer(Consumer):
    """The consumer of a `MemoryQueue`; `consumer_class` makes the class for each queue.

    Attributes:
        idle: It has looked, found nothing, and waits.
    """

    queue: ClassVar[MemoryQueue]
    capabilities: ClassVar[Capabilities]

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.idle = False
        self._stopped = asyncio.Event()
        self._inner = self.queue.new_consumer()
        self._changed = asyncio.Event()
        self._changed.set()  # nobody has looked yet
        self._held_back: list[tuple[float, int, QueueMessage]] = []  # given back with a delay, by the time they are due
        self._number = count()
        self._copies: set[QueueMessage] = set()  # those in flight
        self._attempts_before: dict[str, int] = {}
        self.queue.consumers.append(self)

    @property
    def at_rest(self) -> bool:
        """Nothing is there, nothing will come by itself."""
        return self.idle and not (self._changed.is_set() or self.queue.fresh) and self._due == math.inf

    def wake(self) -> None:
        """Look again."""
        self._changed.set()

    def stop(self) -> None:
        """The engine stops: wait no longer."""
        self._stopped.set()
        self.wake()

    async def connect(self) -> None:
        """Connect to `memory`, unless a fault is in the way."""
        self._strike("connect")
        await self._inner.connect()
        self.lease = self._inner.lease

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Wait by the event loop's clock; between two batches let the function's threads come to rest.

        Without that it would depend on the machine's speed which messages travel together.
        """
        self._strike("consume")
        end = asyncio.get_running_loop().time() + max(timeout, IDLE)
        while max_messages and not self._stopped.is_set():
            if self._worth_a_look():
                await self.queue.watcher.functions_at_rest()
                if self._stopped.is_set():
                    break
                self._changed.clear()
                if messages := await self._take(max_messages):
                    self._changed.set()  # there may be more
                    return messages
            if not await self._wait(end):
                break
        return []

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Settle in `memory`, but for copies, which it does not know, and for those that a fault takes away."""
        self._strike("settle")
        faults = self.queue.consumer_faults
        lost = [message for message in messages if faults.loses_lease(message)]
        settled = [message for message in messages if message not in lost] if lost else messages
        late = await self._inner.on_success([message for message in settled if message not in self._copies]) or 0
        await self._give_back(lost)
        for message in settled:
            self._copies.discard(message)
            self.queue.stories[message.position].settled = True
            if faults.repeats(message):
                self._copy(message)
        self.wake()  # it looks once the engine has counted them as settled
        return late + len(lost)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        """Give back to `memory`, at once or when the time has come."""
        self._strike("settle")
        if delay:
            due = asyncio.get_running_loop().time() + delay
            for message in messages:
                heappush(self._held_back, (due, next(self._number), message))
        else:
            await self._give_back(messages)
        self.wake()

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """Nothing to do: a lease ends only when a fault says so."""

    async def lag(self) -> int | None:
        """What nobody holds, be it held back."""
        lag = await self._inner.lag()
        return None if lag is None else lag + len(self._held_back)

    async def shutdown(self) -> None:
        """Give back what is unsettled."""
        for message in list(self._copies):
            self._copies.discard(message)
            self._copy(message)
        await self._inner.shutdown()

    def _strike(self, call: Any) -> None:
        self.idle = False
        self.queue.consumer_faults.strike(call, asyncio.get_running_loop().time())

    def _worth_a_look(self) -> bool:
        """Whether there may be messages: most of the time nothing has happened."""
        return self._changed.is_set() or self.queue.fresh or self._due <= asyncio.get_running_loop().time()

    @property
    def _due(self) -> float:
        """When the next message that is held back is due; infinity if there is none."""
        return min(self.queue.next_due, self._held_back[0][0] if self._held_back else math.inf)

    async def _wait(self, end: float) -> bool:
        """Wait until it is worth a look; False if there is none by `end`."""
        self.idle = True
        self.queue.watcher.look()
        due = self._due
        try:
            async with asyncio.timeout_at(min(due, end)):
                await self._changed.wait()
        except TimeoutError:
            return due <= end
        finally:
            self.idle = False
        return True

    async def _take(self, max_messages: int) -> list[QueueMessage]:
        await self.queue.bring()
        now = asyncio.get_running_loop().time()
        due = []
        while self._held_back and self._held_back[0][0] <= now:
            due.append(heappop(self._held_back)[2])
        await self._give_back(due)
        copies = [self.queue.copies.popleft() for _ in range(min(max_messages, len(self.queue.copies)))]
        self._copies.update(copies)
        room = max_messages - len(copies)
        messages = copies + [self._counted(each) for each in (await self._inner.consume(room, 0.0) if room else ())]
        for message in messages:
            story = self.queue.stories.setdefault(message.position, Story(message))
            story.deliveries.append((message, message.attempts))
        return messages

    def _counted(self, message: QueueMessage) -> QueueMessage:
        """A delivery with the attempts that the real backend would tell."""
        if not self.capabilities.redelivery_count:
            # What other workers tried before is not known there; `memory` knows.
            message.attempts -= self._attempts_before.setdefault(message.position, message.attempts - 1)
        return message

    async def _give_back(self, messages: Sequence[QueueMessage]) -> None:
        for copy in [message for message in messages if message in self._copies]:
            self._copies.discard(copy)
            self._copy(copy)
            messages = [message for message in messages if message is not copy]
        if messages:
            await self._inner.on_fail(messages)

    def _copy(self, message: QueueMessage) -> None:
        story = self.queue.stories[message.position]
        attempts = message.attempts + 1 if self.capabilities.redelivery_count else 1
        self.queue.copies.append(
            QueueMessage(
                message.message_context,
                story.body,
                story.key,
                story.headers,
                message.timestamp,
                attempts,
                message.position,
            )
        )


class StandInProducer(Producer):
    """The producer of a `MemoryQueue`; `producer_class` makes the class for each queue."""

    queue: ClassVar[MemoryQueue]
    capabilities: ClassVar[Capabilities]

    async def connect(self) -> None:
        """Nothing to do, unless a fault is in the way."""
        self.queue.producer_faults.strike("connect", asyncio.get_running_loop().time())

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Store what no fault refuses."""
        faults = self.queue.producer_faults
        faults.strike("produce", asyncio.get_running_loop().time())
        unconfirmed = [record for record in records if faults.loses_confirmation(record)]
        if unconfirmed:
            await self.queue.store(unconfirmed)
            raise NotConnected(f"the connection to {self.name!r} was lost before it confirmed, {TOLD}")
        answers = [faults.refusal(record) for record in records]
        taken = [record for record, error in zip(records, answers, strict=True) if error is None]
        stored = iter(await self.queue.store(taken))
        return [next(stored) if error is None else error for error in answers]

    async def shutdown(self) -> None:
        """Nothing to do: nothing is buffered."""


def consumer_class(label: str, queue: MemoryQueue, capabilities: Capabilities) -> type[StandInConsumer]:
    """A consumer's class for one queue, under the name of the connector that it stands in for."""
    return type(label, (StandInConsumer,), {"queue": queue, "capabilities": capabilities})


def producer_class(label: str, queue: MemoryQueue, capabilities: Capabilities) -> type[StandInProducer]:
    """A producer's class for one queue, under the name of the connector that it stands in for."""
    return type(label, (StandInProducer,), {"queue": queue, "capabilities": capabilities})


def as_sent(record: Record) -> Record:
    """A record without the envelope in which a backend without headers or keys carries it."""
    opened = None if record.message is None else envelope.unwrap(record.message)
    if opened is None:
        return record
    body, key, headers = opened
    return Record(body, key, headers, record.delay, record.options)
