"""The consumer: hands out leased messages, and settles them by the token of the delivery."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence

from penstock.backoff import Backoff
from penstock.client_slot import ClientSlot
from penstock.connectors import Backlog, Consumer, Probed
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage, QueueMessage
from penstock.polling import Poller
from penstock_memory.namespaces import queue
from penstock_memory.options import MemoryOptions
from penstock_memory.process_queue import ProcessQueue
from penstock_memory.queue import Lessee, Queue
from penstock_memory.wake_up import WakeUp

POLLING = Backoff(initial=0.001, maximum=0.05)
"""Pauses between two looks at an empty `multiprocessing.Queue`, which cannot wake an event loop."""

PUT_BACK_TIMEOUT = 5.0
"""Seconds that a shutdown waits for room in a `multiprocessing.Queue`."""

log = logging.getLogger("penstock.memory")


class MemoryConsumer(Consumer):
    """Consumes the queue `name`. A message's `message_context` is the token of its delivery.

    Every message is leased for `vt` seconds. When the consumer shuts down, others see its messages at once.
    """

    options: MemoryOptions

    def __init__(self, name: str, options: MemoryOptions) -> None:
        super().__init__(name, options)
        self.lease = options.vt
        self._source = None if options.queue is None else ProcessQueue(options.queue, name)
        self._poller = Poller(POLLING)
        self._queue: Queue | None = None
        self._lessee = ClientSlot[Lessee](f"the consumer of {name!r}")
        self._wake_up: WakeUp | None = None

    def _opened(self) -> Queue:
        """The queue; it is made on first use."""
        if self._queue is None:
            self._queue = queue(self.options.namespace, self.name) if self._source is None else Queue(self.name)
        return self._queue

    async def connect(self) -> None:
        """Open the queue; it is made on first use."""
        if not self._lessee.is_open:
            self._lessee.put(self._opened().new_lessee(self.options.vt))
            self._wake_up = WakeUp()

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Lease messages, lowest number first. Nothing polls, but for the items of a `multiprocessing.Queue`."""
        lessee = self._lessee.get()
        if self._source is not None:
            return await self._poller.poll(lambda: self._fetch(max_messages), timeout)
        wake_up = self._wake_up
        assert wake_up is not None  # noqa: S101  (made with the lessee)
        deadline = time.monotonic() + timeout
        while True:
            wake_up.reset()
            messages = lessee.receive(max_messages, wake_up.wake)
            remaining = deadline - time.monotonic()
            if messages or remaining <= 0:
                return messages
            await wake_up.wait(min(remaining, self._opened().next_visible_in()))

    async def _fetch(self, max_messages: int) -> list[QueueMessage]:
        lessee = self._lessee.get()
        messages = lessee.receive(max_messages)
        if self._source is not None and len(messages) < max_messages:
            self._opened().append(self._source.take(max_messages - len(messages)))
            messages += lessee.receive(max_messages - len(messages))
        return messages

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Remove messages. Those whose lease was lost are left alone, and counted."""
        # After a shutdown everything is requeued, so each of these is late.
        return self._lessee.get().settle(_tokens(messages)) if self._lessee.is_open else len(messages)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:
        """Requeue messages in their places. Those whose lease was lost are left alone, and counted."""
        if not self._lessee.is_open:
            return len(messages)
        return self._lessee.get().requeue(_tokens(messages), delay or 0.0)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """Give these messages a full lease again, from now on."""
        if self._lessee.is_open:
            self._lessee.get().extend(_tokens(messages))

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        """Record in the queue that these are called."""
        if self._lessee.is_open:
            self._lessee.get().record_calls(_tokens(messages), [message.abandoned or 0 for message in messages])

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        """Remove the records."""
        if self._lessee.is_open:
            self._lessee.get().record_calls(_tokens(messages), [0] * len(messages))

    async def lag(self) -> int | None:
        """Messages that no consumer has, delayed ones included; None before `connect`."""
        if not self._lessee.is_open:
            return None
        waiting = self._opened().lag()
        if self._source is None:
            return waiting
        there = self._source.lag()
        return None if there is None else waiting + there

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. A position is a message's number; a queue that was never used is empty."""
        if self._source is not None:
            raise ConnectorError(
                f"queue {self.name!r}: a multiprocessing.Queue cannot be read without taking its items"
            )
        if after is not None and not (after.isascii() and after.isdigit()):
            raise ConnectorError(
                f"{after!r} is not a position of queue {self.name!r}; a position is a number, like '42'"
            )
        return self._opened().browse(limit, int(after or 0))

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        """See `Consumer.claim`."""
        return self._lessee.get().claim({int(position) for position in positions})

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`. It scans the whole queue."""
        if self._source is not None:
            return Backlog(waiting=self._source.lag())
        messages = self._opened().browse(self._opened().depth())
        states = Counter(message.state for message in messages)
        oldest = min((each.timestamp for each in messages if each.state == "waiting" and each.timestamp), default=None)
        return Backlog(states["waiting"], states["leased"], states["delayed"], oldest)

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`. There is no server."""
        return [Probed("reachable", True, "a queue of the worker's own process")]

    async def shutdown(self) -> None:
        """Requeue what is unsettled, at once."""
        if (lessee := self._lessee.close()) is None:
            return
        if self._wake_up is not None:
            self._opened().forget(self._wake_up.wake)
        lessee.close()
        if self._source is not None and (left := self._opened().browse(self._opened().depth())):
            # In a thread: there may be no room for a while.
            lost = await asyncio.to_thread(self._source.put_back, left, PUT_BACK_TIMEOUT)
            if lost:
                log.error("queue %r: the multiprocessing.Queue is full, so %d messages are lost", self.name, lost)


def _tokens(messages: Sequence[QueueMessage]) -> list[int]:
    return [message.message_context for message in messages]
