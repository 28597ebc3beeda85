"""One queue that is read without an engine: fetched ahead, its leases kept alive, settled when the reader says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from penstock.errors import DecodeError, PenstockError
from penstock.message import QueueMessage
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.lease_extender import LeaseExtender
from penstock.queues.cancellation import raise_if_exit
from penstock.queues.codec import Codec
from penstock.queues.queue import InputQueue

IDLE_TIMEOUT = 0.5  # seconds of one consume() without messages; how long closing may have to wait for it
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
                return [decode(message.message) for message in messages]
            except BaseException as error:  # noqa: BLE001  (which one it was is found out below)
                raise_if_exit(error)
        return list(map(self.one, messages))


class SourceQueue:
    """An input queue that fetches ahead of its readers.

    Args:
        queue: The queue, not open yet.
        ahead: How many messages to hold for readers at most.
    """

    def __init__(self, queue: InputQueue, ahead: int) -> None:
        self.queue = queue
        self.ahead = ahead
        self._in_flight = InFlight()
        self._waiting: list[QueueMessage] = []
        self._damaged: dict[QueueMessage, DecodeError] = {}
        self._changed = asyncio.Event()  # something arrived, or the end came
        self._taken = asyncio.Event()
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

    async def take(self, most: int, fill: float, idle: float | None) -> list[QueueMessage]:
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
            await self._until(most, fill)
        if self._stopping:
            return []  # the connector requeues what still waits here
        taken = self._waiting[:most]
        del self._waiting[:most]
        self._taken.set()
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
            room = self.ahead - len(self._waiting)
            if room < 1:
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
            self._in_flight.add(messages, asked_at)
            self._waiting.extend(self._opened(messages) if self.queue.packing.needed else messages)
            self._changed.set()

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
        own = self._in_flight.originals(messages)
        if not all(map(self._in_flight.received_at.__contains__, own)):
            raise PenstockError(f"{self.queue}: a delivery that is settled already cannot be settled again")
        return own

    def _release(self, messages: Sequence[QueueMessage]) -> None:
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
