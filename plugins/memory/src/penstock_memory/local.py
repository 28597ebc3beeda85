"""Waiting for a queue of this process, from any event loop of any of its threads.

A waiter registers with the queue in the same step that finds nothing, so that no arrival falls between the look and the
wait; it sleeps until it is woken, until a delay or a lease ends, or until its own time is up. Nothing polls.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress

from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock_memory.log import Queue


class Alarm:
    """Wakes one coroutine. Made on its event loop; `ring` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter, or let its next wait return at once."""
        # RuntimeError: its loop is closed, so whoever waited there is gone, and nobody else needs this call.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)

    def reset(self) -> None:
        """Forget earlier rings; to be called before the look that precedes a wait."""
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Return when rung, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


class LocalInbox:
    """The consumer's side of a queue of this process.

    Args:
        queue: Where messages come from.
        lease: Seconds for which a delivery is hidden from others.
    """

    lost = False

    def __init__(self, queue: Queue, lease: float) -> None:
        self._queue = queue
        self._holder = queue.hold(lease)
        self._alarm = Alarm()

    async def receive(self, max_messages: int, timeout: float, max_bytes: float = math.inf) -> list[QueueMessage]:
        """As soon as there are any: all at hand, up to `max_messages`; none after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            self._alarm.reset()
            messages = self._holder.receive(max_messages, self._alarm.ring, max_bytes)
            remaining = deadline - time.monotonic()
            if messages or remaining <= 0:
                return messages
            await self._alarm.wait(min(remaining, self._queue.next_visible_in()))

    async def settle(self, tokens: Sequence[int]) -> int:
        """See `Holder.settle`."""
        return self._holder.settle(tokens)

    async def give_back(self, tokens: Sequence[int], delay: float) -> int:
        """See `Holder.give_back`."""
        return self._holder.give_back(tokens, delay)

    async def extend(self, tokens: Sequence[int]) -> int:
        """See `Holder.extend`."""
        return self._holder.extend(tokens)

    async def record(self, tokens: Sequence[int], calls: Sequence[int]) -> None:
        """See `Holder.record`."""
        self._holder.record(tokens, calls)

    async def lag(self) -> int:
        """See `Queue.lag`."""
        return self._queue.lag()

    async def browse(self, limit: int, after: int, max_bytes: float = math.inf) -> list[BrowsedMessage]:
        """See `Queue.browse`."""
        return self._queue.browse(limit, after, max_bytes)

    async def close(self, died: bool = False) -> None:
        """Give back what is unsettled; see `Holder.close`."""
        self._queue.forget(self._alarm.ring)
        self._holder.close(died)


class LocalOutbox:
    """The producer's side of a queue of this process.

    Args:
        queue: Where records go.
        max_length: Unsettled messages at which it is full; 0 is never.
    """

    lost = False

    def __init__(self, queue: Queue, max_length: int) -> None:
        self._queue = queue
        self._max_length = max_length
        self._turn = asyncio.Lock()

    async def append(self, records: Sequence[Record], patience: float) -> int:
        """Store records in their order, waiting up to `patience` seconds for room.

        Returns:
            How many were stored: the first ones.
        """
        # One call at a time, so that a call that began earlier comes first also when it waits for room.
        async with self._turn:
            stored = self._queue.append(records, self._max_length)
            if stored < len(records):
                stored += await self._append_when_there_is_room(records[stored:], time.monotonic() + patience)
            return stored

    async def _append_when_there_is_room(self, records: Sequence[Record], deadline: float) -> int:
        alarm = Alarm()
        stored = 0
        try:
            while True:
                alarm.reset()
                stored += self._queue.append(records[stored:], self._max_length, alarm.ring)
                remaining = deadline - time.monotonic()
                if stored == len(records) or remaining <= 0:
                    return stored
                await alarm.wait(remaining)
        finally:
            self._queue.forget(alarm.ring)

    async def close(self) -> None:
        """Nothing is buffered; nothing is left to do."""
