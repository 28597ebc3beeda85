"""One queue that is read without an engine: fetched ahead, its leases kept alive, settled when the reader says so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, TypeGuard

from penstock.direct.collector import collector_paused
from penstock.errors import DecodeError, PenstockError
from penstock.message import LazyMessages, QueueMessage
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.lease_extender import LeaseExtender
from penstock.queues.cancellation import raise_if_exit
from penstock.queues.codec import Codec
from penstock.queues.queue import InputQueue

IDLE_TIMEOUT = 0.5  # seconds of one consume() without messages; how long closing may have to wait for it
AHEAD = 100  # messages that are fetched ahead of what a reader takes at once
FULL_WAIT = 0.1  # seconds between two polls of a client that must be polled while there is no room


class Decoder:
    """Makes objects of messages.

    Args:
        codec: What reads bodies.
        damaged: The messages whose envelopes could not be opened, with the errors of that.
    """

    def __init__(self, codec: Codec, damaged: Mapping[QueueMessage, DecodeError]) -> None:
        self._codec = codec
        self._damaged = damaged

    def one(self, message: QueueMessage) -> Any:
        """The object of a message.

        Raises:
            MessageError: the serializer or the model handler rejects the body.
        """
        if message in self._damaged:
            raise self._damaged[message]
        try:
            return self._codec.decode(message.message)
        except BaseException as error:  # noqa: BLE001  (any error of a codec means that the message is not valid)
            raise_if_exit(error)
            raise self._codec.explain(message.message, error)[1] from None

    def all(self, messages: Sequence[QueueMessage]) -> list[Any]:
        """The object of each; raises as `one` does, for the first that is rejected."""
        decode = self._codec.decode
        if not self._damaged:
            try:
                with collector_paused():
                    if isinstance(messages, LazyMessages):
                        return list(map(decode, messages.bodies))
                    return [decode(message.message) for message in messages]
            except BaseException as error:  # noqa: BLE001  (which one it was is found out below)
                raise_if_exit(error)
        return list(map(self.one, messages))


class Waiting:
    """Messages that no reader has taken yet, in the parts in which they came.

    Args:
        take_apart: Returns the messages of a part that is split, or joined with another one.
    """

    def __init__(self, take_apart: Callable[[Sequence[QueueMessage]], Sequence[QueueMessage]]) -> None:
        self._take_apart = take_apart
        self._parts: deque[Sequence[QueueMessage]] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, messages: Sequence[QueueMessage]) -> None:
        """Put messages behind the others."""
        self._parts.append(messages)
        self._count += len(messages)

    def take(self, most: int) -> Sequence[QueueMessage]:
        """Remove the first `most` messages. A part that is all a reader takes is returned as it came."""
        first = self._parts[0] if self._parts else ()
        if first and (len(first) == most or len(first) == self._count < most):
            self._count -= len(first)
            return self._parts.popleft()
        taken: list[QueueMessage] = []
        while self._parts and len(taken) < most:
            part = self._take_apart(self._parts.popleft())
            room = most - len(taken)
            taken += part[:room]
            if len(part) > room:
                self._parts.appendleft(part[room:])
        self._count -= len(taken)
        return taken


class SourceQueue:
    """An input queue that fetches ahead of its readers.

    Args:
        queue: The queue, not open yet.
        batch: How many messages a reader takes at once.

    Attributes:
        batch: The same, of the reader that takes most.
    """

    def __init__(self, queue: InputQueue, batch: int) -> None:
        self.queue = queue
        self.batch = batch
        self._in_flight = InFlight()
        self._whole: set[LazyMessages[QueueMessage]] = set()  # taken, not settled, and not yet taken apart
        self._waiting = Waiting(self._taken_apart)
        self._damaged: dict[QueueMessage, DecodeError] = {}
        self._changed = asyncio.Event()  # something arrived, or the end came
        self._taken = asyncio.Event()
        self._filling = 0  # readers that wait for a full list
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, connect_timeout: float | None) -> None:
        """Connect, and begin to fetch.

        Raises:
            ConnectorError: the backend refuses, or stays away for that long.
        """
        await self.queue.open(connect_timeout)
        leases = LeaseExtender(f"queue {self.queue.name!r}", self.queue, self._in_flight.received_at)
        self._tasks = [asyncio.create_task(self._fetch()), asyncio.create_task(leases.keep())]
        for task in self._tasks:
            task.add_done_callback(lambda _task: self._changed.set())

    @property
    def ahead(self) -> int:
        """How many messages to hold for readers at most."""
        # Without leases a server, or its client, has more ready, which costs less there.
        return max(self.batch, AHEAD) if self.queue.lease is None else self.batch + min(self.batch, AHEAD)

    def _room(self) -> int:
        """How many messages to fetch now: none before it is worth a call, unless a reader waits for them."""
        room = self.ahead - len(self._waiting)
        return room if 2 * room >= self.ahead or self._filling else 0

    async def take(self, most: int, fill: float, idle: float | None) -> Sequence[QueueMessage]:
        """Wait for messages.

        Args:
            most: How many at most.
            fill: Seconds from the first message on to wait for so many.
            idle: Seconds to wait for the first one; None waits until the queue is closed.

        Returns:
            None of them if the queue was closed, or was idle for so long.

        Raises:
            ConnectorError: the backend refused for good, or the connector has a bug.
        """
        await self._until(1, idle)
        if self._waiting and fill:
            self._filling += 1
            self._taken.set()
            try:
                await self._until(most, fill)
            finally:
                self._filling -= 1
        if self._stopping:
            return []  # the connector requeues what still waits here
        taken = self._waiting.take(most)
        if self._room():
            self._taken.set()
        if isinstance(taken, LazyMessages):
            self._whole.add(taken)
        return taken

    async def _until(self, count: int, timeout: float | None) -> None:
        """Wait until so many messages are there, or as many as fit, or the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while len(self._waiting) < min(count, self.ahead) and not self._stopping:
                    self._raise_if_failed()
                    self._changed.clear()
                    await self._changed.wait()

    def _raise_if_failed(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _fetch(self) -> None:
        asked_at = monotonic()
        while not self._stopping:
            if not (room := self._room()):
                self._taken.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._taken.wait(), FULL_WAIT)
                if self.queue.keep_polling and monotonic() - asked_at >= FULL_WAIT:
                    await self.queue.consume(0, 0.0)
                    asked_at = monotonic()
                continue
            asked_at = monotonic()
            messages = await self.queue.consume(room, IDLE_TIMEOUT)
            if not messages:
                continue
            packed = self.queue.packing.needed
            if packed or self.queue.lease is not None or not isinstance(messages, LazyMessages):
                self._in_flight.add(messages, asked_at)
                messages = self._opened(messages) if packed else list(messages)
            self._waiting.add(messages)
            self._changed.set()

    def _taken_apart(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        """The messages of a part, each to be settled by itself."""
        if isinstance(messages, LazyMessages):
            messages = messages.all()
            self._in_flight.add(messages, monotonic())
        return messages

    def one_by_one(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        """The messages of a list that a reader has taken, each to be settled by itself from now on."""
        if self._is_whole(messages):
            self._whole.discard(messages)
            return self._taken_apart(messages)
        return messages

    def _is_whole(self, messages: Sequence[QueueMessage]) -> TypeGuard[LazyMessages[QueueMessage]]:
        return isinstance(messages, LazyMessages) and messages in self._whole

    def _opened(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        copies = self._in_flight.working_copies(messages, self.queue.packing.is_packed)
        for copy in copies:
            try:
                self.queue.packing.unpack(copy)
            except DecodeError as error:
                self._damaged[copy] = error
        return copies

    def decoder(self, model: Any) -> Decoder:
        """What makes objects of messages, of this model, or of the queue's if it is None."""
        resolved, codec = self.queue.resolved, self.queue.codec
        if model is not None:
            codec = Codec(resolved.serializer, resolved.model_handler, model)
        return Decoder(codec, self._damaged)

    async def settle(self, messages: Sequence[QueueMessage]) -> int:
        """Settle for good; returns how many other consumers own meanwhile."""
        late = await self.queue.on_success(self._own(messages))
        self._release(messages)
        return late

    async def requeue(self, messages: Sequence[QueueMessage], delay: float | None) -> int:
        """Let them be delivered again; returns how many other consumers own meanwhile."""
        held = None if self.queue.resolved.capabilities.requeue_delay else delay
        if held:
            await asyncio.sleep(held)
        late = await self.queue.on_fail(self._own(messages), delay)
        self._release(messages)
        return late

    def _own(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        if self._is_whole(messages):
            return messages
        own = self._in_flight.originals(messages)
        if not all(map(self._in_flight.received_at.__contains__, own)):
            raise PenstockError(f"{self.queue}: a delivery that is settled already cannot be settled again")
        return own

    def _release(self, messages: Sequence[QueueMessage]) -> None:
        if self._is_whole(messages):
            self._whole.discard(messages)
            return
        self._in_flight.release(messages)
        if self._damaged:
            for message in messages:
                self._damaged.pop(message, None)

    async def close(self) -> None:
        """Stop fetching, and close. The connector requeues what is not settled."""
        self._stopping = True
        self._changed.set()
        self._taken.set()
        self.queue.stop()
        for task in self._tasks[1:]:
            task.cancel()
        # The first one, which fetches, is not cancelled: a message that it is given would hide until its lease ends.
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._in_flight.end()
        await self.queue.close()
