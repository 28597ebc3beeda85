"""The fake connectors between an engine and a queue in memory. They use the event loop's clock and inject faults."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, ClassVar

from penstock.capabilities import Capabilities
from penstock.connectors import Consumer, Producer
from penstock.errors import NotConnected, ProduceError
from penstock.message import QueueMessage, Record
from penstock.queues.plain_bodies import PlainBody
from penstock.testing.fault_injection import TOLD
from penstock.testing.memory_queue import MemoryQueue, MessageHistory

IDLE = 60.0  # seconds that a consume may wait for messages; a stop ends it at once


class FakeConsumer(Consumer):
    """The consumer of a `MemoryQueue`; `consumer_class` makes the class for each queue.

    Attributes:
        idle: It has looked, found no message, and waits.
    """

    queue: ClassVar[MemoryQueue]
    capabilities: ClassVar[Capabilities]

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.idle = False
        self._stopped = asyncio.Event()
        self._inner = self.queue.new_consumer()
        self._changed = asyncio.Event()
        self._changed.set()  # so that the first consume looks
        self._held_back: list[
            tuple[float, int, QueueMessage]
        ] = []  # requeued with a delay, by the time when they are due
        self._number = count()
        self._copies: set[QueueMessage] = set()  # those in flight
        self._attempts_before: dict[str, int] = {}
        self.queue.consumers.append(self)

    @property
    def at_rest(self) -> bool:
        """Whether there is no message, and none is due later."""
        return self.idle and not (self._changed.is_set() or self.queue.fresh) and self._due == math.inf

    def wake(self) -> None:
        """Let `consume` look for messages again."""
        self._changed.set()

    def stop(self) -> None:
        """Let `consume` return, because the engine stops."""
        self._stopped.set()
        self.wake()

    async def connect(self) -> None:
        """Connect to `memory`, unless a fault is injected."""
        self._strike("connect")
        await self._inner.connect()
        self.lease = self._inner.lease

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Wait by the event loop's clock. Before each batch, wait for the function calls that run on threads.

        Otherwise the machine's speed would decide which messages share a batch.
        """
        self._strike("consume")
        end = asyncio.get_running_loop().time() + max(timeout, IDLE)
        while max_messages and not self._stopped.is_set():
            if self._worth_a_look():
                await self.queue.watcher.calls_finished()
                if self._stopped.is_set():
                    break
                self._changed.clear()
                if messages := await self._take(max_messages):
                    self._changed.set()  # there may be more messages
                    return messages
            if not await self._wait(end):
                break
        return []

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Settle in `memory`, except copies, which it does not know, and messages whose lease a fault has ended."""
        self._strike("settle")
        faults = self.queue.consumer_faults
        lost = [message for message in messages if faults.loses_lease(message)]
        settled = [message for message in messages if message not in lost] if lost else messages
        late = await self._inner.on_success([message for message in settled if message not in self._copies]) or 0
        await self._requeue(lost)
        for message in settled:
            self._copies.discard(message)
            self.queue.histories[message.position].settled = True
            if faults.repeats(message):
                self._copy(message)
        self.wake()  # so that it looks again once the engine has counted them as settled
        return late + len(lost)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        """Requeue in `memory`, at once or when the delay is over."""
        self._strike("settle")
        if delay:
            due = asyncio.get_running_loop().time() + delay
            for message in messages:
                heappush(self._held_back, (due, next(self._number), message))
        else:
            await self._requeue(messages)
        self.wake()

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """Do nothing: a lease ends only by a fault."""

    async def lag(self) -> int | None:
        """The messages that no consumer holds, delayed ones included."""
        lag = await self._inner.lag()
        return None if lag is None else lag + len(self._held_back)

    async def shutdown(self) -> None:
        """Requeue the messages that are not settled."""
        for message in list(self._copies):
            self._copies.discard(message)
            self._copy(message)
        await self._inner.shutdown()

    def _strike(self, call: Any) -> None:
        self.idle = False
        self.queue.consumer_faults.strike(call, asyncio.get_running_loop().time())

    def _worth_a_look(self) -> bool:
        """Whether there may be messages. Most of the time nothing has happened."""
        return self._changed.is_set() or self.queue.fresh or self._due <= asyncio.get_running_loop().time()

    @property
    def _due(self) -> float:
        """When the next delayed message is due; infinity without one."""
        return min(self.queue.next_due, self._held_back[0][0] if self._held_back else math.inf)

    async def _wait(self, end: float) -> bool:
        """Wait until there may be messages; False if there are none by `end`."""
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
        await self._requeue(due)
        copies = [self.queue.copies.popleft() for _ in range(min(max_messages, len(self.queue.copies)))]
        self._copies.update(copies)
        room = max_messages - len(copies)
        messages = copies + [self._counted(each) for each in (await self._inner.consume(room, 0.0) if room else ())]
        for message in messages:
            history = self.queue.histories.setdefault(message.position, MessageHistory(message))
            history.deliveries.append((message, message.attempts))
        return messages

    def _counted(self, message: QueueMessage) -> QueueMessage:
        """Give a delivery the number of attempts that the real backend would report."""
        if not self.capabilities.redelivery_count:
            # The real backend does not know the attempts of other workers; `memory` does.
            message.attempts -= self._attempts_before.setdefault(message.position, message.attempts - 1)
        return message

    async def _requeue(self, messages: Sequence[QueueMessage]) -> None:
        for copy in [message for message in messages if message in self._copies]:
            self._copies.discard(copy)
            self._copy(copy)
            messages = [message for message in messages if message is not copy]
        if messages:
            await self._inner.on_fail(messages)

    def _copy(self, message: QueueMessage) -> None:
        history = self.queue.histories[message.position]
        attempts = message.attempts + 1 if self.capabilities.redelivery_count else 1
        self.queue.copies.append(
            QueueMessage(
                message.message_context,
                history.body,
                history.key,
                history.headers,
                message.timestamp,
                attempts,
                message.position,
                abandoned=0,
            )
        )


class FakeProducer(Producer):
    """The producer of a `MemoryQueue`; `producer_class` makes the class for each queue."""

    queue: ClassVar[MemoryQueue]
    capabilities: ClassVar[Capabilities]
    plain_data: ClassVar[bool | None] = None

    async def connect(self) -> None:
        """Do nothing, unless a fault is injected."""
        self.queue.producer_faults.strike("connect", asyncio.get_running_loop().time())

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Store the records, except those that a fault refuses."""
        # `memory` takes nothing but bytes.
        records = [
            Record(bytes(each.message), each.key, each.headers, each.delay, each.options)
            if isinstance(each.message, PlainBody)
            else each
            for each in records
        ]
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
        """Do nothing, because nothing is buffered."""


def consumer_class(label: str, queue: MemoryQueue, capabilities: Capabilities) -> type[FakeConsumer]:
    """A consumer class for one queue, with the name of the connector that it replaces."""
    return type(label, (FakeConsumer,), {"queue": queue, "capabilities": capabilities})


def producer_class(label: str, queue: MemoryQueue, capabilities: Capabilities) -> type[FakeProducer]:
    """A producer class for one queue, with the name of the connector that it replaces."""
    return type(label, (FakeProducer,), {"queue": queue, "capabilities": capabilities})
