"""The loop of one engine: consume ahead, keep several batches in flight, hold the limits, stop in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError
from penstock.message import QueueMessage
from penstock.observability.health import Health
from penstock.observability.metrics import EngineMetrics
from penstock.pipeline.batch import Batch
from penstock.pipeline.careful import Careful
from penstock.pipeline.ending import Ending
from penstock.pipeline.leases import Leases
from penstock.pipeline.window import Window
from penstock.queues.queue import InputQueue, OutputQueue

if TYPE_CHECKING:
    from penstock.config.model import EngineSettings
    from penstock.pipeline.delivery import AtLeastOnce
    from penstock.pipeline.lanes import Lanes
    from penstock.pipeline.poison import Suspicion

log = logging.getLogger("penstock")

IDLE_TIMEOUT = 0.5  # seconds of one consume() without messages; how long a stop may have to wait for it
DRAIN_TIMEOUT = 0.02  # the same while draining, when an empty queue is what is waited for
HUNG_AFTER = 60.0  # seconds without a turn of the event loop after which the worker no longer counts as alive
BEAT_EVERY = 1.0  # seconds between two beats
LAG_EVERY = 5.0  # seconds between two looks at the lag
FULL_WAIT = 0.1  # seconds between two polls of a client that must be polled while there is no room
SETTLED_WITHIN = 0.5  # of a lease; while a settlement waits for longer than that, nothing is fetched
SIDE_TASKS_END = 2.0  # seconds
LAST_LAG = 2.0  # seconds that the end of a drain waits to hear how much is left


class ProcessEnded(PenstockError):
    """The function raised what is meant for the whole process, as `sys.exit()` does: its cause, which whoever runs the
    engines raises once all have stopped."""


class Pipeline:
    """One engine at work.

    Args:
        app: The engine's name.
        source: The input queue.
        targets: Output queues by name, the dead-letter queue among them.
        settings: Limits.
        metrics, health: Where the loop shows what it does.
        suspicion: Which messages may be killing the worker.

    `done` counts the messages that reached their final state here. `lanes` and `delivery` are set by `compile`, which
    ties the knot.

    Attributes:
        ending: How it ended; None while it runs.
    """

    lanes: Lanes
    delivery: AtLeastOnce

    def __init__(
        self,
        app: str,
        source: InputQueue,
        targets: Mapping[str, OutputQueue],
        settings: EngineSettings,
        metrics: EngineMetrics,
        health: Health,
        suspicion: Suspicion,
    ) -> None:
        self.app = app
        self.source = source
        self._targets = targets
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._component = f"engine {app}"
        self._heartbeat = health.heartbeat(self._component, HUNG_AFTER)
        self._careful = Careful(source, suspicion, self, settings.concurrency)
        self.done = 0
        self._held: dict[QueueMessage, float] = {}  # when each was consumed, by `monotonic`; the oldest first
        self._leases = Leases(app, source, self._held)
        self._deliveries: set[asyncio.Task[None]] = set()
        self._retries: dict[asyncio.TimerHandle, Sequence[QueueMessage]] = {}
        self._consuming: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._stopping = asyncio.Event()
        self._error: BaseException | None = None
        self.draining = False
        self._window = Window(settings, whole_batches=bool(source.resolved.batch))
        self._quiet_since: float | None = None
        self._expected_until = 0.0
        self._asked_at = monotonic()
        self._opened = False
        self._closing = False
        self._lag: int | None = None
        self.ending: Ending | None = None
        self._oldest: float | None = None
        metrics.watch_in_flight(lambda: len(self._held))
        metrics.watch_oldest_in_flight(lambda: self._oldest)
        metrics.watch_lag(lambda: self._lag)
        for queue in (source, *targets.values()):
            metrics.watch_connected(queue.name, lambda queue=queue: queue.connected)  # type: ignore[misc]
        health.set(self._component, "starting")

    # -- what the worker calls

    async def run(self, patience: float | None, grace: float) -> None:
        """Work until `stop`, or until something fails for good.

        Args:
            patience: Seconds for which a backend that is away at the start is waited for.
            grace: Seconds that running calls and deliveries get once the loop stops.

        Raises:
            PenstockError: why the engine could not go on. Every unsettled message is left to be redelivered.
        """
        side_tasks: list[asyncio.Task[None]] = []
        try:
            if await self._open(patience):
                self._health.set(self._component, "ok")
                works = (self._leases.keep(), self._beat(), self._look_at_lag())
                side_tasks = [asyncio.create_task(work) for work in works]
                for task in side_tasks:
                    task.add_done_callback(self._watched)
                # Beside this one: a client that does not return at a stop holds up nothing else.
                self._consuming = asyncio.create_task(self._consume())
                self._consuming.add_done_callback(self._watched)
                await self._stopping.wait()
        except Exception as error:  # noqa: BLE001  (whatever it is, what runs is finished and the queues are closed)
            self.stop_with(error)
        finally:
            await self._finish(grace)
            for task in side_tasks:
                task.cancel()
            if side_tasks:
                # No call may be under way when the queues are closed.
                await asyncio.wait(side_tasks, timeout=SIDE_TASKS_END)
            waiting = await self._last_lag() if self.draining else None
            clean = await self._close()
            # Whatever else was received is counted by now as what became of it.
            self.ending = Ending(len(self._held), waiting, clean)
            self._metrics.left(len(self._held))
            self._held.clear()
            self.delivery.close()
            self._heartbeat.stop()
        if self._error is not None:
            self._health.set(self._component, "failed", str(self._error))
            if not isinstance(self._error, Exception):
                raise ProcessEnded(f"engine {self.app!r}: the function ended the process") from self._error
            raise self._error

    def stop(self) -> None:
        """Consume no more; what runs is finished."""
        self._health.set(self._component, "stopping")
        self._stopping.set()
        self._room.set()
        self.source.stop()
        self._careful.stop()
        self.lanes.stop()  # now, not once an idle consume returns

    def stop_with(self, error: BaseException) -> None:
        """Stop, and raise `error` from `run`; the first error counts."""
        if self._error is None:
            self._error = error
        self.stop()

    def drain(self) -> None:
        """From now on look often whether the queue is empty."""
        self.draining = True

    async def quiet_since(self) -> float | None:
        """Since when there has been nothing to do, by `monotonic`; None while there is, or may come, something."""
        quiet = self._quiet_since
        if quiet is None or self._held or monotonic() < self._expected_until:
            return None
        lag = await self.lag()
        if lag is None and self.source.resolved.capabilities.lag:
            return None  # it can tell, and does not know yet: a group that has no assignment, say
        return None if lag else quiet

    async def lag(self) -> int | None:
        """How many messages wait in the input queue."""
        return await self.source.lag() if self._opened else None

    @property
    def in_flight(self) -> int:
        """Messages consumed and not yet settled."""
        return len(self._held)

    def _let_go(self, messages: Sequence[QueueMessage]) -> None:
        held = self._held
        for message in messages:
            held.pop(message, None)
        self._careful.ended(messages)

    # -- what delivery calls

    def settled(self, messages: Sequence[QueueMessage]) -> None:
        """These are no longer in flight."""
        self._let_go(messages)
        self.done += len(messages)
        self._room.set()

    def again(self, messages: Sequence[QueueMessage], delay: float) -> bool:
        """Offer these to the function once more after `delay` seconds; False if the engine stops before."""
        if self._stopping.is_set():
            return False
        self._careful.ended(messages)

        def offer() -> None:
            del self._retries[handle]
            if self._careful.busy:
                self._careful.postpone(messages)
            else:
                self.lanes.offer(messages)

        handle = asyncio.get_running_loop().call_later(delay, offer)
        self._retries[handle] = messages
        return True

    async def pause(self, delay: float) -> None:
        """Wait, but not past a stop."""
        try:
            await asyncio.wait_for(self._stopping.wait(), delay)
        except TimeoutError:
            return

    def given_back(self, messages: Sequence[QueueMessage], delay: float) -> None:
        """These are no longer in flight, and come again after `delay` seconds: until then an empty queue is none."""
        self._let_go(messages)
        self._room.set()
        self._expected_until = max(self._expected_until, monotonic() + delay)

    # -- what the lanes call

    def finished(self, batch: Batch) -> None:
        """Deliver a batch that the function is through with."""
        calls = len(batch.messages) + len(batch.failures)
        if calls:
            self._window.worked = True
            self._metrics.batch_size(calls)
            self._metrics.function_time(batch.seconds, calls)
        self._careful.returned(batch)
        self.deliver(batch)

    def deliver(self, batch: Batch) -> None:
        """Bring what is in a batch to its final state."""
        task = asyncio.get_running_loop().create_task(self.delivery.deliver(batch))
        self._deliveries.add(task)
        task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._deliveries.discard(task)
        self._watched(task)

    def _watched(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            if not self._closing:
                self.stop_with(PenstockError(f"engine {self.app!r}: a task of it was cancelled, and not by Penstock"))
        elif (error := task.exception()) is not None:
            self.stop_with(error)

    # -- its own

    async def _open(self, patience: float | None) -> bool:
        """Open all queues; False if the engine was stopped meanwhile."""
        opening = [asyncio.create_task(queue.open(patience)) for queue in (self.source, *self._targets.values())]
        stopped = asyncio.create_task(self._stopping.wait())
        waiting: set[asyncio.Task[Any]] = {*opening, stopped}
        try:
            while not self._stopping.is_set() and not all(task.done() for task in opening):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # the first that cannot open ends it for all
        finally:
            for task in (*opening, stopped):
                task.cancel()
            await asyncio.gather(*opening, stopped, return_exceptions=True)
        self._opened = all(not task.cancelled() for task in opening)
        return self._opened

    async def _consume(self) -> None:
        source, limit = self.source, self._settings.batch_size
        while not self._stopping.is_set():
            await self._careful.call_alone()
            room = self._free()
            if room < 1:
                await self._wait_for_room()
                continue
            began = monotonic()
            timeout = min(DRAIN_TIMEOUT if self.draining else IDLE_TIMEOUT, self._careful.due_in)
            messages = await source.consume(min(room, limit), timeout)
            self._asked_at = monotonic()
            if not messages:
                if not self._held:
                    self._quiet_since = began
                continue
            self._quiet_since = None
            self._metrics.received(len(messages))
            self._held.update(dict.fromkeys(messages, began))
            self._window.sample(messages)
            if self._stopping.is_set():
                break  # never begun: it is given back when the consumer shuts down
            await self._careful.offer(messages)

    def _free(self) -> int:
        """How many messages to ask for now; 0 to wait."""
        room = self._window.room(len(self._held), self.lanes.waiting, self.lanes.taken)
        return 0 if self._settling_slowly() else room

    def _settling_slowly(self) -> bool:
        """A settlement has waited for long: more messages would wait behind it until their leases end."""
        lease, since = self.source.lease, self.source.settling_since
        return bool(lease and since is not None and monotonic() - since > lease * SETTLED_WITHIN)

    async def _wait_for_room(self) -> None:
        self._room.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._room.wait(), FULL_WAIT)
        # Also while one message after the other is settled, and there is no room yet.
        if self.source.keep_polling and monotonic() - self._asked_at >= FULL_WAIT:
            await self.source.consume(0, 0.0)
            self._asked_at = monotonic()

    async def _beat(self) -> None:
        """Say that the event loop turns. It waits for no broker, or an outage would look like a hung worker."""
        while True:
            self._heartbeat.beat()
            # Looked at here, for a scrape comes on another thread. Messages stand in the order they were consumed.
            first = next(iter(self._held.values()), None)
            self._oldest = None if first is None else monotonic() - first
            await asyncio.sleep(BEAT_EVERY)

    async def _look_at_lag(self) -> None:
        """Now and then, because a scrape must not wait for a broker."""
        while True:
            self._lag = await self.lag()
            await asyncio.sleep(LAG_EVERY)

    async def _finish(self, grace: float) -> None:
        """Let running calls and deliveries end, for `grace` seconds at most."""
        self._stopping.set()
        for handle, messages in self._retries.items():
            handle.cancel()
            self.lanes.dropped += messages
        self._retries.clear()
        if not self._opened:
            self._closing = True
            self.lanes.close()
            return
        try:
            async with asyncio.timeout(grace):
                await self.lanes.finish()
                while self._deliveries:
                    await asyncio.wait(self._deliveries)
                await self._end_consuming()
        except TimeoutError:
            log.warning("engine %r: not finished after %g s; %d messages are left to be redelivered",
                        self.app, grace, len(self._held))  # fmt: skip
        finally:
            self._closing = True
            self.lanes.close()
            under_way = [*self._deliveries, *([] if self._consuming is None else [self._consuming])]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _end_consuming(self) -> None:
        if self._consuming is None:
            return
        done, waiting = await asyncio.wait({self._consuming}, timeout=2 * IDLE_TIMEOUT)
        if not done and self.lanes.dropped:
            # The connector waits for settlements, as before a partition goes: no others come. Usually its shutdown
            # gives these back.
            task = asyncio.create_task(self.delivery.give_back(self.lanes.dropped))
            self._deliveries.add(task)
            task.add_done_callback(self._delivered)
            waiting.add(task)
        if waiting:
            await asyncio.wait(waiting)

    async def _last_lag(self) -> int | None:
        with suppress(PenstockError, TimeoutError):
            async with asyncio.timeout(LAST_LAG):
                return await self.lag()
        return None

    async def _close(self) -> bool:
        """Close all queues; returns whether the input queue closed cleanly."""
        for queue in self._targets.values():  # first: what they still confirm can then be settled
            await queue.close()
        return await self.source.close()
