"""Calls suspects, which may be poison messages, so that the next crash shows which one is to blame.

They are called in small groups, then one by one. While suspects are called, the engine fetches nothing new. One that
must be called alone waits until no call of this engine runs, and until no other engine of this process calls a suspect
alone. It also waits until the worker has lived for a time that is long beside a call: a worker that is killed again and
again for other reasons dies before, so a message is not rejected because of a coincidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from time import monotonic
from weakref import WeakKeyDictionary

from penstock.message import QueueMessage
from penstock.pipeline.batch import Batch
from penstock.pipeline.executor import Executor
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.poison import GROUP, Suspicion
from penstock.pipeline.settlement import Failure
from penstock.pipeline.state import EngineState
from penstock.queues.queue import InputQueue

GROUP_SIZE = 16  # suspects that are called together: as many are called alone if one of them kills the worker
SHORTEST_CALM, LONGEST_CALM = 1.0, 10.0  # seconds that a worker lives before it calls a suspect alone
CALLS_OF_CALM = 20  # calls that fit into that time
STANDSTILL = 10.0  # seconds for which an engine fetches nothing because of a suspect
PAUSE = 10  # times that long it goes on before it stands still again for one that could not be called alone
SLICE = 1.0  # seconds after which suspects that are called alone let other messages go on
SETTLED_WITHIN = 1.0  # seconds after a call; then its record is removed, for what takes so long is not the message
POLL_EVERY = 0.1  # seconds between two polls of a client that must be polled

_turn: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class SuspectCalls:
    """Calls the suspects of one engine.

    Args:
        source: The input queue, which records the calls.
        in_flight: Knows the connector's messages.
        suspicion: How suspicious a message is.
        executor: Calls the function.
        deliver: Brings a batch to its final state.
        state: The engine's state.
        concurrency: Calls that may run at once.

    Attributes:
        busy: Suspects are being called: a message that is to be called again is given to `postpone`.
    """

    def __init__(
        self,
        source: InputQueue,
        in_flight: InFlight,
        suspicion: Suspicion,
        executor: Executor,
        deliver: Callable[[Batch], None],
        state: EngineState,
        concurrency: int,
    ) -> None:
        self._source = source
        self._in_flight = in_flight
        self._suspicion = suspicion
        self._executor = executor
        self._deliver = deliver
        self._state = state
        self._group_size = max(GROUP_SIZE, concurrency)
        self._open: set[QueueMessage] = set()  # suspects under way, not settled yet
        self._running: set[QueueMessage] = set()  # those of them whose calls have not ended
        self._postponed: list[QueueMessage] = []
        self._alone: list[QueueMessage] = []  # to be called alone
        self._calm = _Calm()
        self._changed = asyncio.Event()
        self._standstill = STANDSTILL  # until no call runs; doubled each time that one ran for longer
        self.busy = False
        state.on_stop(self._changed.set)

    async def submit(self, messages: Sequence[QueueMessage]) -> None:
        """Submit messages to the executor: suspects with care; poison messages are dead-lettered."""
        self._calm.begin()
        suspects = self._suspicion.among(messages)
        if not suspects:
            self._executor.submit(messages)
            return
        apart = set(suspects)
        self._executor.submit([message for message in messages if message not in apart])
        errors = [(message, self._suspicion.poison_error(message)) for message in suspects]
        poison = Batch()
        poison.failures = [Failure(message, "delivery", error) for message, error in errors if error is not None]
        if poison.failures:
            self._deliver(poison)
        others = [message for message, error in errors if error is None]
        level = self._suspicion.level
        self._alone = self._suspicion.in_order([*self._alone, *(each for each in others if level(each) > GROUP)])
        grouped = [each for each in others if level(each) <= GROUP]
        for start in range(0, len(grouped), self._group_size):
            async with self._at_work():
                await self._call_group(grouped[start : start + self._group_size])

    @property
    def due_in(self) -> float:
        """Seconds until a suspect may be called alone; infinity if none waits."""
        return self._calm.left() if self._alone else inf

    async def call_alone(self) -> None:
        """Call those that wait for that, if it is time, for as long as others may be kept waiting."""
        end = monotonic() + SLICE
        while self.due_in <= 0 and not self._state.stopping and monotonic() < end:
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
                self._executor.submit(postponed)

    def postpone(self, messages: Sequence[QueueMessage]) -> None:
        """Hold messages that are due for another attempt until the suspects under way are settled."""
        self._postponed += messages

    def returned(self, batch: Batch) -> None:
        """The calls of a batch have ended."""
        self._calm.count(len(batch.messages) + len(batch.failures), batch.seconds)
        if self._running:
            self._running.difference_update(batch.messages)
            self._running.difference_update([failure.message for failure in batch.failures])
            self._changed.set()

    def ended(self, messages: Sequence[QueueMessage]) -> None:
        """Count messages as done: settled, requeued, or waiting for their next attempt."""
        if self._open:
            self._open.difference_update(messages)
            self._running.difference_update(messages)
            self._changed.set()

    async def _call_group(self, group: Sequence[QueueMessage]) -> None:
        await self._begin(group)
        await self._until_settled(group)

    async def _call_alone(self, suspect: QueueMessage) -> None:
        turn = _turn.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        if turn.locked():
            self._put_back(suspect, POLL_EVERY)  # another engine calls a suspect alone
            return
        if not await self._until_idle():
            # Some call takes long, or hangs: the other messages of this engine do not wait for its end.
            self._put_back(suspect, PAUSE * self._standstill)
            self._standstill *= 2
            return
        self._standstill = STANDSTILL
        if turn.locked():
            self._put_back(suspect, POLL_EVERY)
            return
        async with turn:
            await self._begin([suspect])
            await self._until(lambda: not self._running, STANDSTILL)
        await self._until_settled([suspect])

    def _put_back(self, suspect: QueueMessage, seconds: float) -> None:
        self._alone.insert(0, suspect)
        self._calm.wait(seconds)

    async def _begin(self, group: Sequence[QueueMessage]) -> None:
        if self._state.stopping:
            return
        await self._source.begin_call(self._in_flight.originals(group))
        self._open, self._running = set(group), set(group)
        self._executor.submit(group)

    async def _until_settled(self, group: Sequence[QueueMessage]) -> None:
        await self._until(lambda: not self._running, STANDSTILL)
        if self._running:
            return  # it takes long, or hangs: its record stays until it is settled, and others go on beside it
        await self._until(lambda: not self._open, SETTLED_WITHIN)
        if not self._state.stopping:
            # Of those that are not settled. The worker survived the call, also one that failed.
            await self._source.end_call(self._in_flight.originals(group))
        await self._until(lambda: not self._open, STANDSTILL)

    async def _until_idle(self) -> bool:
        idle = asyncio.create_task(self._executor.wait_until_idle())
        idle.add_done_callback(lambda _task: self._changed.set())
        try:
            await self._until(idle.done, self._standstill)
            return idle.done()
        finally:
            idle.cancel()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = monotonic() + seconds
        polls = self._source.keep_polling
        while not (self._state.stopping or done()):
            self._changed.clear()
            left = deadline - monotonic()
            if left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_EVERY if polls else left)
            if polls:
                await self._source.consume(0, 0.0)


class _Calm:
    """How long the worker must still live before it calls a suspect alone."""

    def __init__(self) -> None:
        self._first: float | None = None  # when the first messages came, by `monotonic`
        self._calls, self._seconds = 0, 0.0  # calls that have ended, and how long they took in all
        self._not_before = 0.0

    def begin(self) -> None:
        """Messages have come."""
        if self._first is None:
            self._first = monotonic()

    def count(self, calls: int, seconds: float) -> None:
        """So many calls have ended, and took so long in all."""
        self._calls += calls
        self._seconds += seconds

    def wait(self, seconds: float) -> None:
        """Call no suspect alone for so long."""
        self._not_before = monotonic() + seconds

    def left(self) -> float:
        """Seconds until it is time."""
        if self._first is None:
            return inf
        # By the mean: a first call that loads a library would otherwise put off every suspect.
        calm = min(LONGEST_CALM, max(SHORTEST_CALM, CALLS_OF_CALM * self._seconds / max(1, self._calls)))
        now = monotonic()
        return max(0.0, self._first + calm - now, self._not_before - now)
