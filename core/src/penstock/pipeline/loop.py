"""One engine at work: fetch, call, deliver, apply what became of each message, stop in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from penstock.errors import PenstockError, ProcessEnded
from penstock.events import Called, Ended, Observer, Settled
from penstock.message import QueueMessage
from penstock.middleware import Limit
from penstock.observability.counting import EngineMetrics
from penstock.observability.health import Health
from penstock.observability.log_fields import logged_with
from penstock.observability.outages import duration
from penstock.pipeline.batch import Batch
from penstock.pipeline.delivery import Delivery
from penstock.pipeline.drain import DrainDetector
from penstock.pipeline.engine_queues import EngineQueues
from penstock.pipeline.executor import Executor, OnBatchDone
from penstock.pipeline.fetcher import IDLE_TIMEOUT, Fetcher
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.outcomes import Outcomes
from penstock.pipeline.poison import Suspicion
from penstock.pipeline.prefetch import PrefetchWindow
from penstock.pipeline.side_tasks import SideTasks
from penstock.pipeline.state import Ending, EngineState
from penstock.pipeline.suspects import SuspectCalls
from penstock.pipeline.tasks import WatchedTasks
from penstock.queues.queue import InputQueue

if TYPE_CHECKING:
    from penstock.config.model import EngineSettings

log = logging.getLogger("penstock")

LAST_LAG = 2.0  # seconds that the end of a drain waits to hear how much is left


class Pipeline:
    """One engine at work.

    Args:
        app: The engine's name.
        queues: Its queues.
        settings: Limits.
        state: Whether it runs, drains or stops.
        in_flight: What it works on.
        make_executor: Makes what calls the function; given what is called with each finished batch.
        delivery: Brings batches to their final state.
        deliveries: The tasks in which that happens.
        suspicion: Which messages may be poison messages.
        observe: Told what happens, once a batch.
        metrics: Where its gauges are shown.
        health: Where its state is shown.
        limits: What middleware allows to fetch.

    Attributes:
        executor: What calls the function.
        ending: How it ended; None while it runs.
    """

    def __init__(
        self,
        app: str,
        queues: EngineQueues,
        settings: EngineSettings,
        state: EngineState,
        in_flight: InFlight,
        make_executor: Callable[[OnBatchDone], Executor],
        delivery: Delivery,
        deliveries: WatchedTasks,
        suspicion: Suspicion,
        observe: Observer,
        metrics: EngineMetrics,
        health: Health,
        limits: Sequence[Limit] = (),
    ) -> None:
        source, component = queues.source, f"engine {app}"
        self.app = app
        self.ending: Ending | None = None
        self.executor = make_executor(self._on_batch_done)
        self._queues = queues
        self._state = state
        self._in_flight = in_flight
        self._delivery = delivery
        self._deliveries = deliveries
        self._observe = observe
        self._set_state = partial(health.set_state, component)
        self._idle = DrainDetector(source, in_flight)
        self._retries: dict[asyncio.TimerHandle, Sequence[QueueMessage]] = {}
        self._suspects = SuspectCalls(
            source, in_flight, suspicion, self.executor, self._deliver, state, settings.concurrency
        )
        self._fetcher = Fetcher(
            app,
            source,
            settings.batch_size,
            PrefetchWindow(settings, whole_batches=bool(source.resolved.batch), now=monotonic()),
            in_flight,
            self._idle,
            self.executor,
            self._suspects,
            state,
            observe,
            limits,
        )
        self._side_tasks = SideTasks(app, component, source, in_flight, WatchedTasks(app, state), metrics, health)
        state.on_stop(lambda: self._set_state("stopping"))
        state.on_stop(in_flight.space_freed.set)
        state.on_stop(source.stop)
        state.on_stop(self.executor.stop)  # now, not once an idle consume returns
        self._set_state("starting")
        health.outages.ask(app, source.name, self.lag)

    # -- what the worker calls

    async def run(self, connect_timeout: float | None, shutdown_timeout: float) -> None:
        """Work until `stop`, or until something fails for good.

        Args:
            connect_timeout: Seconds to wait at the start for a backend that is away; None waits for ever.
            shutdown_timeout: Seconds that running calls and deliveries get once the engine stops.

        Raises:
            PenstockError: why the engine could not go on. Every unsettled message is redelivered.
        """
        source = self.source
        with logged_with({"engine": self.app, "queue": source.name, "connector": source.resolved.connector}):
            await self._run(connect_timeout, shutdown_timeout)

    async def _run(self, connect_timeout: float | None, shutdown_timeout: float) -> None:
        fetching, begun = WatchedTasks(self.app, self._state), monotonic()
        try:
            if await self._queues.open(connect_timeout, self._state):
                self._set_state("ok")
                log.info("engine %r: at work, connected after %s", self.app, duration(monotonic() - begun))
                self._side_tasks.start()
                # In a task of its own: a client that does not return at a stop holds up nothing else.
                fetching.start(self._fetcher.run())
                await self._state.wait_for_stop()
        except Exception as error:  # noqa: BLE001  (whatever it is, what runs is finished and the queues are closed)
            self.stop_with(error)
        finally:
            await self._finish(fetching, shutdown_timeout)
            await self._side_tasks.end()
            waiting = await self._last_lag() if self._state.draining else None
            self._in_flight.end()
            clean = await self._queues.close(shutdown_timeout)
            # What became of all other messages is counted by now.
            self.ending = Ending(self.in_flight, waiting, clean)
            if self.in_flight:
                self._observe(Settled(self.app, "unsettled", list(self._in_flight.received_at)))
            self._in_flight.clear()
            self._observe(Ended(self.app))
            self._side_tasks.close()
        if (failure := self._state.error) is not None:
            self._set_state("failed", str(failure))
            if not isinstance(failure, Exception):
                raise ProcessEnded(f"engine {self.app!r}: the function ended the process") from failure
            raise failure

    def stop(self) -> None:
        """Consume no more; what runs is finished."""
        self._state.stop()

    def stop_with(self, error: BaseException) -> None:
        """Stop, and raise `error` from `run`; the first error counts."""
        self._state.fail(error)

    def drain(self) -> None:
        """Look often, from now on, whether the queue is empty."""
        self._state.draining = True

    async def idle_since(self) -> float | None:
        """Since when there has been nothing to do, by `monotonic`; None while there is, or may come, something."""
        return await self._idle.idle_since()

    def waits_for(self) -> str | None:
        """A sentence about what a stop waits for; None once the engine has ended."""
        if self.ending is not None:
            return None
        called, left = self.executor.taken - self.executor.returned, self.in_flight
        age = "" if self._in_flight.age is None else f", the oldest for {duration(self._in_flight.age)}"
        if called:
            return f"engine {self.app!r} waits for the function, which has {_messages(called)}{age}"
        if left:
            return f"engine {self.app!r} waits until {_messages(left)} are confirmed and settled{age}"
        return f"engine {self.app!r} closes its queues"

    async def lag(self) -> int | None:
        """How many messages wait in the input queue."""
        return await self.source.lag() if self._queues.opened else None

    @property
    def source(self) -> InputQueue:
        """The input queue."""
        return self._queues.source

    @property
    def in_flight(self) -> int:
        """How many messages are received and not settled."""
        return len(self._in_flight)

    @property
    def on_threads(self) -> bool:
        """Whether the function is being called on a thread, so that the event loop will be woken."""
        return self.executor.on_threads and self.executor.taken > self.executor.returned

    @property
    def done(self) -> int:
        """How many messages reached their final state here."""
        return self._in_flight.settled

    # -- from the function to the backends

    def _on_batch_done(self, batch: Batch) -> None:
        """The function has finished a batch: count its calls, and deliver it."""
        if batch.messages or batch.failures:
            self._observe(Called(self.app, batch.messages, batch.failures, batch.seconds))
        self._suspects.returned(batch)
        self._deliver(batch)

    def _deliver(self, batch: Batch) -> None:
        self._deliveries.start(self._apply(self._delivery.deliver(batch)))

    async def _apply(self, delivery: Awaitable[Outcomes]) -> None:
        """Apply what a delivery returns. There is no await after it: a message is counted and released together."""
        outcomes = await delivery
        if outcomes.settled:
            self._in_flight.settled += self._release(outcomes.settled)
        if outcomes.requeued is not None:
            messages, delay = outcomes.requeued
            self._release(messages)
            self._idle.expect(delay)
        for messages, delay in outcomes.retry:
            self._retry_later(messages, delay)
        # Side by side: a group that waits before it is requeued must not hold up the dead letters.
        for group in outcomes.groups:
            self._deliveries.start(self._apply(self._delivery.settle_failures(group)))
        if outcomes.rest is not None:
            self._deliver(outcomes.rest)
        if outcomes.stop is not None:
            self.stop_with(outcomes.stop)

    def _release(self, messages: Sequence[QueueMessage]) -> int:
        released = self._in_flight.release(messages)
        self._suspects.ended(released)
        return len(released)

    def _retry_later(self, messages: Sequence[QueueMessage], delay: float) -> None:
        self._suspects.ended(messages)
        again = self._in_flight.next_attempt(messages)

        def submit() -> None:
            del self._retries[timer]
            if self._suspects.busy:
                self._suspects.postpone(again)
            else:
                self.executor.submit(again)

        timer = asyncio.get_running_loop().call_later(delay, submit)
        self._retries[timer] = again

    # -- the end

    async def _finish(self, fetching: WatchedTasks, shutdown_timeout: float) -> None:
        """Let running calls and deliveries end, for `shutdown_timeout` seconds at most."""
        self._state.stop()
        for timer, messages in self._retries.items():
            timer.cancel()
            self.executor.unstarted += messages
        self._retries.clear()
        if not self._queues.opened:
            self.executor.close()
            return
        try:
            async with asyncio.timeout(shutdown_timeout):
                await self.executor.finish()
                await self._deliveries.finish()
                await self._end_fetching(fetching)
        except TimeoutError:
            left = "1 message is" if self.in_flight == 1 else f"{self.in_flight} messages are"
            log.warning("engine %r: not finished after %g s; %s left to be redelivered",
                        self.app, shutdown_timeout, left, extra={"count": self.in_flight})  # fmt: skip
        finally:
            self.executor.close()
            await asyncio.gather(self._deliveries.cancel(), fetching.cancel())

    async def _end_fetching(self, fetching: WatchedTasks) -> None:
        try:
            async with asyncio.timeout(2 * IDLE_TIMEOUT):
                await fetching.finish()
        except TimeoutError:
            if self.executor.unstarted:
                # The connector waits for settlements, as before it gives up a partition, and no others come. Usually
                # its shutdown requeues these.
                self._deliveries.start(self._apply(self._delivery.requeue(self.executor.unstarted)))
            await fetching.finish()
        await self._deliveries.finish()

    async def _last_lag(self) -> int | None:
        with suppress(PenstockError, TimeoutError):
            async with asyncio.timeout(LAST_LAG):
                return await self.lag()
        return None


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count:,} messages"
