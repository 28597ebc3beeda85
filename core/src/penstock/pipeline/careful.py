"""Calls suspects so that the next crash tells which is to blame: in small groups, then one by one.

While suspects are called, the engine fetches nothing new. One that must be called alone waits until no call of this
engine runs, and until no other engine of this process calls one of its own. It also waits until the worker has lived
for a time that is long beside a call: a worker that is killed again and again for other reasons dies before, so that it
convicts no message by coincidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from penstock.message import QueueMessage
from penstock.pipeline.batch import Batch
from penstock.pipeline.poison import GROUP, Suspicion
from penstock.pipeline.settlement import Failure
from penstock.queues.queue import InputQueue

if TYPE_CHECKING:
    from penstock.pipeline.lanes import Lanes

GROUP_SIZE = 16  # suspects that are called together: as many are called alone if one of them kills the worker
SHORTEST_CALM, LONGEST_CALM = 1.0, 10.0  # seconds that a worker lives before it calls a suspect alone
CALLS_OF_CALM = 20  # calls that fit into that time
PATIENCE = 10.0  # seconds for which an engine stands still for a suspect, and no longer
PAUSE = 10  # times that patience go by before it stands still for one again that could not be called alone
SLICE = 1.0  # seconds after which suspects that are called alone let others go on
SETTLED_WITHIN = 1.0  # seconds after a call; then its record is removed, for what takes so long is not the message
POLL_EVERY = 0.1  # seconds between two polls of a client that must be polled


class Loop(Protocol):
    """What this asks of the loop whose messages it calls."""

    lanes: Lanes

    def deliver(self, batch: Batch) -> None:
        """Bring what is in a batch to its final state."""


_turn: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class Careful:
    """Calls the suspects of one engine.

    Args:
        source: The input queue, which records the calls.
        suspicion: How suspicious a message is.
        loop: Whose lanes call, and who delivers.
        concurrency: Calls that may run at once.

    Attributes:
        busy: It is at work: whoever has a message to call again gives it to `postpone`.
    """

    def __init__(self, source: InputQueue, suspicion: Suspicion, loop: Loop, concurrency: int) -> None:
        self._source = source
        self._suspicion = suspicion
        self._loop = loop
        self._group_size = max(GROUP_SIZE, concurrency)
        self._pending: set[QueueMessage] = set()  # not settled yet
        self._running: set[QueueMessage] = set()  # their calls have not ended
        self._postponed: list[QueueMessage] = []
        self._alone: list[QueueMessage] = []  # to be called alone
        self._born: float | None = None  # when the first messages came, by `monotonic`
        self._calls, self._seconds = 0, 0.0  # calls that have ended, and how long they took in all
        self._changed = asyncio.Event()
        self._patience = PATIENCE  # until no call runs; doubled each time that one ran for longer
        self._not_before = 0.0  # until then nothing is called alone, by `monotonic`
        self._stopped = False
        self.busy = False

    async def offer(self, messages: Sequence[QueueMessage]) -> None:
        """Let the lanes have these; suspects are called with care, and those convicted are dead-lettered."""
        if self._born is None:
            self._born = monotonic()
        suspects = self._suspicion.among(messages)
        if not suspects:
            self._loop.lanes.offer(messages)
            return
        apart = set(suspects)
        self._loop.lanes.offer([message for message in messages if message not in apart])
        verdicts = [(message, self._suspicion.verdict(message)) for message in suspects]
        convicted = Batch()
        convicted.failures = [Failure(message, "delivery", error) for message, error in verdicts if error is not None]
        if convicted.failures:
            self._loop.deliver(convicted)
        others = [message for message, error in verdicts if error is None]
        level = self._suspicion.level
        self._alone = self._suspicion.in_order([*self._alone, *(each for each in others if level(each) > GROUP)])
        groups = [each for each in others if level(each) <= GROUP]
        for start in range(0, len(groups), self._group_size):
            async with self._at_work():
                await self._call_group(groups[start : start + self._group_size])

    @property
    def due_in(self) -> float:
        """Seconds until a suspect may be called alone; infinity if none waits."""
        if not self._alone or self._born is None:
            return inf
        # By the mean: a first call that loads a library would put off every verdict.
        calm = min(LONGEST_CALM, max(SHORTEST_CALM, CALLS_OF_CALM * self._seconds / max(1, self._calls)))
        return max(0.0, self._born + calm - monotonic(), self._not_before - monotonic())

    async def call_alone(self) -> None:
        """Call those that wait for that, if it is time, for as long as others may be kept waiting."""
        end = monotonic() + SLICE
        while self.due_in <= 0 and not self._stopped and monotonic() < end:
            async with self._at_work():
                await self._call_alone(self._alone.pop(0))

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            postponed, self._postponed = self._postponed, []
            if postponed:
                self._loop.lanes.offer(postponed)

    def postpone(self, messages: Sequence[QueueMessage]) -> None:
        """These wait for their next try until the suspects under way are through."""
        self._postponed += messages

    def returned(self, batch: Batch) -> None:
        """The calls of a batch have ended."""
        self._calls += len(batch.messages) + len(batch.failures)
        self._seconds += batch.seconds
        if self._running:
            self._running.difference_update(batch.messages)
            self._running.difference_update([failure.message for failure in batch.failures])
            self._changed.set()

    def ended(self, messages: Sequence[QueueMessage]) -> None:
        """These are settled or requeued, or wait for their next try."""
        if self._pending:
            self._pending.difference_update(messages)
            self._running.difference_update(messages)
            self._changed.set()

    def stop(self) -> None:
        """Begin nothing more, and wait for nothing more."""
        self._stopped = True
        self._changed.set()

    async def _call_group(self, group: Sequence[QueueMessage]) -> None:
        await self._begin(group)
        await self._until_settled(group)

    async def _call_alone(self, suspect: QueueMessage) -> None:
        turn = _turn.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        if turn.locked():
            self._put_back(suspect, POLL_EVERY)  # another engine calls one of its own
            return
        if not await self._until_idle():
            # Some call takes long, or hangs: the others of this engine do not wait for its end.
            self._put_back(suspect, PAUSE * self._patience)
            self._patience *= 2
            return
        self._patience = PATIENCE
        if turn.locked():
            self._put_back(suspect, POLL_EVERY)  # another engine calls one of its own
            return
        async with turn:
            await self._begin([suspect])
            await self._until(lambda: not self._running, PATIENCE)
        await self._until_settled([suspect])

    def _put_back(self, suspect: QueueMessage, seconds: float) -> None:
        self._alone.insert(0, suspect)
        self._not_before = monotonic() + seconds

    async def _begin(self, group: Sequence[QueueMessage]) -> None:
        if self._stopped:
            return
        await self._source.begin_call(group)
        self._pending, self._running = set(group), set(group)
        self._loop.lanes.offer(group)

    async def _until_settled(self, group: Sequence[QueueMessage]) -> None:
        await self._until(lambda: not self._running, PATIENCE)
        if self._running:
            return  # it takes long, or hangs: its record stays until it is settled, and others go on beside it
        await self._until(lambda: not self._pending, SETTLED_WITHIN)
        if not self._stopped:
            # Of those that are not settled; a try that failed is one that the worker survived.
            await self._source.end_call(group)
        await self._until(lambda: not self._pending, PATIENCE)

    async def _until_idle(self) -> bool:
        resting = asyncio.create_task(self._loop.lanes.rest())
        resting.add_done_callback(lambda _task: self._changed.set())
        try:
            await self._until(resting.done, self._patience)
            return resting.done()
        finally:
            resting.cancel()

    async def _until(self, done: Callable[[], bool], seconds: float | None = None) -> None:
        deadline = None if seconds is None else monotonic() + seconds
        polls = self._source.keep_polling
        while not (self._stopped or done()):
            self._changed.clear()
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_EVERY if polls else left)
            if polls:
                await self._source.consume(0, 0.0)
