"""Fetches messages ahead of the function, within the limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from penstock.events import Consumed, Observer
from penstock.middleware import Limit
from penstock.pipeline.drain import DrainDetector
from penstock.pipeline.executor import Executor
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.prefetch import PrefetchWindow
from penstock.pipeline.state import EngineState
from penstock.pipeline.suspects import SuspectCalls
from penstock.queues.queue import InputQueue

IDLE_TIMEOUT = 0.5  # seconds of one consume() without messages; how long a stop may have to wait for it
DRAIN_TIMEOUT = 0.02  # seconds of one consume() while draining, which waits for the queue to be empty
UNCOUNTED_TIMEOUT = 1.0  # the same for a queue that has no lag: a message may still be on its way to the client
FULL_WAIT = 0.1  # seconds between two polls of a client that must be polled while there is no room
SLOW_SETTLEMENT = 0.5  # of a lease; while a settlement waits for longer than that, nothing is fetched


class Fetcher:
    """Consumes from the input queue of one engine until the engine stops.

    Args:
        app: The engine's name.
        source: The input queue.
        batch_size: How many messages to ask for at most.
        window: How far ahead of the function to fetch.
        in_flight: Where received messages are entered.
        idle: Told whether the queue is empty.
        executor: Tells how many messages wait for the function.
        suspects: Submits the messages to the executor.
        state: The engine's state.
        observe: Told what is received.
        limits: What middleware allows to fetch.
    """

    def __init__(
        self,
        app: str,
        source: InputQueue,
        batch_size: int,
        window: PrefetchWindow,
        in_flight: InFlight,
        idle: DrainDetector,
        executor: Executor,
        suspects: SuspectCalls,
        state: EngineState,
        observe: Observer,
        limits: Sequence[Limit] = (),
    ) -> None:
        self._app = app
        self._source = source
        self._batch_size = batch_size
        self._window = window
        self._in_flight = in_flight
        self._idle = idle
        self._executor = executor
        self._suspects = suspects
        self._state = state
        self._observe = observe
        self._limits = limits
        self._drain_timeout = DRAIN_TIMEOUT if source.resolved.capabilities.lag else UNCOUNTED_TIMEOUT
        self._asked_at = monotonic()

    async def run(self) -> None:
        """Fetch until the engine stops.

        Raises:
            ConnectorError: the backend refused for good, or the connector has a bug.
        """
        state, source, suspects = self._state, self._source, self._suspects
        loop = asyncio.get_running_loop()
        while not state.stopping:
            await suspects.call_alone()
            room, wait = self._room(), FULL_WAIT
            for limit in self._limits:
                now = loop.time()
                if (allowed := limit.room(now)) < room:
                    room, wait = allowed, min(FULL_WAIT, limit.due_in(now))
            if room < 1:
                await self._wait_for_room(wait)
                continue
            asked_at = monotonic()
            timeout = min(self._drain_timeout if state.draining else IDLE_TIMEOUT, suspects.due_in)
            messages = await source.consume(min(room, self._batch_size), timeout)
            self._asked_at = monotonic()
            if not messages:
                self._idle.found_empty(asked_at)
                continue
            self._idle.received()
            self._observe(Consumed(self._app, messages))
            self._in_flight.add(messages, asked_at)
            self._window.weigh(messages)
            for limit in self._limits:
                limit.took(len(messages), loop.time())
            if source.packing.needed:
                messages = self._in_flight.working_copies(messages, source.packing.is_packed)
            if not state.stopping:  # otherwise they are requeued when the consumer shuts down
                await suspects.submit(messages)

    def _room(self) -> int:
        """How many messages to ask for now; 0 to wait."""
        executor = self._executor
        waiting = executor.waiting
        self._window.observe(executor.taken, executor.returned, waiting, monotonic())
        return 0 if self._settling_slowly() else self._window.room(len(self._in_flight), waiting)

    def _settling_slowly(self) -> bool:
        """Whether a settlement has waited for long: more messages would wait behind it until their leases end."""
        lease, since = self._source.lease, self._source.settling_since
        return bool(lease and since is not None and monotonic() - since > lease * SLOW_SETTLEMENT)

    async def _wait_for_room(self, seconds: float) -> None:
        space_freed = self._in_flight.space_freed
        space_freed.clear()
        if self._state.stopping:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(space_freed.wait(), seconds)
        # Also while one message after the other is settled, and there is no room yet.
        if self._source.keep_polling and monotonic() - self._asked_at >= FULL_WAIT:
            await self._source.consume(0, 0.0)
            self._asked_at = monotonic()
