"""Takes chosen messages out of a queue, in a given order, and leaves all others as they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from time import monotonic

from penstock.bulk import chunks
from penstock.errors import DecodeError, NotConnected
from penstock.message import QueueMessage
from penstock.operations.letters import Death
from penstock.queues.packing import open_envelope
from penstock.queues.queue import InputQueue

MOST = 500  # messages of one claim
MOST_HELD = 10_000  # messages that wait for an earlier one; more, and the order is not kept any longer
QUIET = 30.0  # seconds without a message after which none is expected, once the queue is read
WAIT = 0.5  # seconds of one call of `consume`, and between two looks for a message that a consumer has
LEASE_MARGIN = 1.0  # seconds that a message of an ended lease may take to be visible
EXTEND_EVERY = 1.0  # seconds; more often for leases of less than three


log = logging.getLogger("penstock")


class Taking:
    """Takes messages by their positions, batch by batch.

    A backend that can delivers just these. Any other one is consumed from its start: what was not chosen is held, never
    settled, and left when the queue is closed.

    Args:
        queue: The queue, not opened yet. It must not be closed before the last batch is settled.
        wanted: The messages, in the order in which they are wanted. One that a consumer had is waited for as long as a
            lease lasts: after a crash it was our own.
        batch: How many of them at most are wanted at once, when it is asked.
        stopped: Set to end before the next batch.

    Attributes:
        disordered: Whether a message that did not come was passed over, so that the order is not as asked for.
        passed: How many messages that were not chosen were leased all the same, and are put back.
    """

    def __init__(
        self, queue: InputQueue, wanted: Sequence[Death], batch: Callable[[], int], stopped: asyncio.Event
    ) -> None:
        self.disordered = False
        self.passed = 0
        self._queue = queue
        self._positions = [each.position for each in wanted]
        self._busy = {each.position for each in wanted if each.held}
        self._batch = batch
        self._stopped = stopped
        self._held: dict[str, QueueMessage] = {}  # chosen, and waiting for an earlier one
        self._others: list[QueueMessage] = []
        self._kept_at = monotonic()  # kept between the blocks of `kept`, each of which may be short

    async def batches(self) -> AsyncGenerator[Sequence[QueueMessage]]:
        """The messages that are still there, each batch in order. Settle a batch before the next one is asked for."""
        if not self._positions:
            return
        await self._queue.open()
        found = self._claimed() if self._queue.resolved.capabilities.claim else self._consumed()
        async for messages in found:
            if self._queue.enveloped:
                open_envelopes(messages)
            yield messages

    async def _claimed(self) -> AsyncGenerator[Sequence[QueueMessage]]:
        start = 0
        while start < len(self._positions) and not self._stopped.is_set():
            wanted = self._positions[start : start + min(MOST, self._batch())]
            start += len(wanted)
            messages = list(await self._queue.claim(wanted))
            if missing := self._busy.intersection(wanted).difference(message.position for message in messages):
                async with self.kept(messages):
                    messages += await self._wait_for(missing)
            if messages:
                places = {position: place for place, position in enumerate(wanted)}
                yield sorted(messages, key=lambda message: places[message.position])

    async def _wait_for(self, missing: set[str]) -> list[QueueMessage]:
        """Messages that a consumer had, once its lease has ended; none if it settles or extends them."""
        log.warning(
            "%s: waiting for %d messages that a consumer has, as long as a lease at most", self._queue, len(missing)
        )
        deadline = monotonic() + (self._queue.lease or 0) + LEASE_MARGIN
        messages: list[QueueMessage] = []
        while missing and monotonic() < deadline and not self._stopped.is_set():
            messages += (found := await self._queue.claim(sorted(missing)))
            missing = missing.difference(message.position for message in found)
            await asyncio.sleep(WAIT if missing else 0)
        self._busy -= missing  # what did not come by now is not waited for again
        return messages

    async def _consumed(self) -> AsyncGenerator[Sequence[QueueMessage]]:
        waiting = set(self._positions)  # not handed out yet
        expected = 0  # the place of the next message
        last = monotonic()
        while waiting and not self._stopped.is_set():
            async with self.kept(()):
                messages = await self._receive(waiting, self._batch(), WAIT)
            if messages or not await self._is_reading():
                last = monotonic()
            quiet = monotonic() - last > QUIET
            while expected < len(self._positions) and self._positions[expected] not in waiting:
                expected += 1
            ready = self._ready(expected)
            if (quiet or len(self._held) > MOST_HELD) and self._held:
                # Some of them do not come: others have them, or they are settled already.
                self.disordered = True
                ready = [position for position in self._positions[expected:] if position in self._held]
            while ready and not self._stopped.is_set():
                some, ready = ready[: self._batch()], ready[self._batch() :]
                waiting.difference_update(some)
                yield [self._held.pop(position) for position in some]
                # A log commits what is settled only while it is consumed. One at a time, since it has to be held.
                await self._receive(waiting, 1, 0)
                last = monotonic()
            if quiet:
                return

    async def _receive(self, waiting: set[str], most: int, wait: float) -> Sequence[QueueMessage]:
        messages = await self._queue.consume(most, wait)
        for message in messages:
            if message.position in waiting:
                self._held[message.position] = message
            else:
                self._others.append(message)
        self.passed = 0 if self._queue.lease is None else len(self._others)
        return messages

    def _ready(self, expected: int) -> list[str]:
        """The positions of messages that are held, from the expected one on, without a gap."""
        ready = []
        for position in islice(self._positions, expected, None):
            if position not in self._held:
                break
            ready.append(position)
        return ready

    async def _is_reading(self) -> bool:
        """Whether messages may be expected: a group that still waits for a member that died assigns nothing."""
        return not self._queue.resolved.capabilities.lag or await self._queue.lag() is not None

    @asynccontextmanager
    async def kept(self, messages: Sequence[QueueMessage]) -> AsyncIterator[None]:
        """Keep what was delivered while the block runs: extend leases, and stay in the group."""
        done = asyncio.Event()
        keeping = asyncio.create_task(self._keep(messages, done))
        try:
            yield
        finally:
            done.set()
            await keeping

    async def _keep(self, messages: Sequence[QueueMessage], done: asyncio.Event) -> None:
        lease = self._queue.lease
        every = EXTEND_EVERY if lease is None else min(EXTEND_EVERY, lease / 3)
        while True:
            try:
                await asyncio.wait_for(done.wait(), max(0.0, self._kept_at + every - monotonic()))
                return
            except TimeoutError:
                self._kept_at = monotonic()
            try:
                if lease is not None and (held := [*messages, *self._held.values(), *self._others]):
                    for some in chunks(held, MOST):
                        await self._queue.extend(some)
                if self._queue.keep_polling and messages:
                    await self._queue.consume(0, 0)
            except NotConnected:
                continue  # the queue connects again; a lease that ends meanwhile is seen when it is settled


def open_envelopes(messages: Sequence[QueueMessage]) -> None:
    """Take messages out of their envelopes; one that is damaged stays as it came."""
    for message in messages:
        try:
            open_envelope(message)
        except DecodeError:
            continue
