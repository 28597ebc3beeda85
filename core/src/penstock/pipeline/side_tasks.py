"""What an engine does beside its messages: it extends leases, beats, and asks for the lag."""

from __future__ import annotations

import asyncio

from penstock.observability.counting import EngineMetrics
from penstock.observability.health import Health
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.lease_extender import LeaseExtender
from penstock.pipeline.tasks import WatchedTasks
from penstock.queues.queue import InputQueue

HUNG_AFTER = 60.0  # seconds without a turn of the event loop after which the worker no longer counts as alive
BEAT_EVERY = 1.0  # seconds between two beats
LAG_EVERY = 5.0  # seconds between two calls for the lag
END_WITHIN = 2.0  # seconds


class SideTasks:
    """The side tasks of one engine, and the gauges that they fill.

    Args:
        app: The engine's name.
        component: Its name in the health registry.
        source: The input queue.
        in_flight: What the engine works on.
        tasks: Where they run.
        metrics: Where the gauges are shown.
        health: Where the heartbeat is shown.
    """

    def __init__(
        self,
        app: str,
        component: str,
        source: InputQueue,
        in_flight: InFlight,
        tasks: WatchedTasks,
        metrics: EngineMetrics,
        health: Health,
    ) -> None:
        self._source = source
        self._in_flight = in_flight
        self._tasks = tasks
        self._leases = LeaseExtender(app, source, in_flight.received_at)
        self._heartbeat = health.heartbeat(component, HUNG_AFTER)
        self._lag: int | None = None
        self._oldest: float | None = None
        metrics.watch_in_flight(lambda: len(in_flight))
        metrics.watch_oldest_in_flight(lambda: self._oldest)
        metrics.watch_lag(lambda: self._lag)
        metrics.watch_retained(lambda: source.consumer.retained)

    def start(self) -> None:
        """Start them; a failure of one stops the engine."""
        for work in (self._leases.keep(), self._beat(), self._update_lag()):
            self._tasks.start(work)

    async def end(self) -> None:
        """End them. No call to a connector is under way afterwards, unless it takes longer than a moment."""
        await self._tasks.cancel(END_WITHIN)

    def close(self) -> None:
        """The engine has ended: no beat is expected any more."""
        self._heartbeat.stop()

    async def _beat(self) -> None:
        """Show that the event loop turns. This waits for no broker, or an outage would look like a hung worker."""
        while True:
            self._heartbeat.beat()
            self._oldest = self._in_flight.age  # read here, because a scrape runs on another thread
            await asyncio.sleep(BEAT_EVERY)

    async def _update_lag(self) -> None:
        """Ask from time to time, because a scrape must not wait for a broker."""
        while True:
            self._lag = await self._source.lag()
            await asyncio.sleep(LAG_EVERY)
