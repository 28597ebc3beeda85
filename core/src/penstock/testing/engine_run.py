"""One run of one engine in a harness: whether it is busy, and with what."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.events import Event, StateChanged
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health
from penstock.observability.metric_definitions import FUNCTION_FAILURES
from penstock.testing.engine_under_test import EngineUnderTest
from penstock.testing.memory_queue import MemoryQueue

SHOWN = 3  # unsettled messages that an error lists


class EngineRun:
    """One run of one engine, ready to start.

    Args:
        engine: The engine.
        source: Its input queue.

    Attributes:
        app: The engine's name.
        stopping: It no longer consumes.

    Raises:
        ConfigError, PluginError, FunctionError: the engine cannot start.
    """

    def __init__(self, engine: EngineUnderTest, source: MemoryQueue) -> None:
        self.app = engine.engine.app_name
        self.stopping = False
        self._source = source
        self._health = Health()
        self._health.subscribe(self._observe)
        metrics = MetricsRegistry()
        self.pipeline = engine.start(self._health, metrics)
        (self.metrics,) = metrics.engines()
        self._consumer = source.consumers[-1]
        self._worker = engine.engine.worker_settings()

    async def run(self) -> None:
        """Work until stopped or until an error ends the engine, with the timeouts of the configuration."""
        await self.pipeline.run(self._worker.connect_timeout, self._worker.shutdown_timeout)

    @property
    def on_threads(self) -> bool:
        """Whether a function call is running on a thread. Its end wakes the event loop."""
        return self.pipeline.on_threads

    @property
    def at_rest(self) -> bool:
        """Whether there is nothing to do, and nothing is due later."""
        return self._consumer.at_rest and not self.pipeline.in_flight

    def _observe(self, event: Event) -> None:
        if isinstance(event, StateChanged) and event.state == "stopping" and event.component == f"engine {self.app}":
            self.stopping = True
            self._consumer.stop()

    def busy_with(self) -> Iterator[str]:
        """What keeps the engine busy, as parts of a sentence."""
        if waiting := self._source.waiting:
            yield f"{waiting} of {self.pipeline.source} not settled, {self.pipeline.in_flight} in flight{self._shown()}"
        if self.on_threads:
            yield "a call of its function has not returned"
        components = self._health.report()["components"]
        for name, status in components.items():
            if status["state"] not in ("ok", "stopping"):
                yield f"{name} is {status['state']}" + (f": {status['reason']}" if status["reason"] else "")
        failures = {label: n for (metric, label), n in self.metrics.counts().items() if metric is FUNCTION_FAILURES}
        for exception, times in failures.items():
            yield f"calls that raised {exception}: {times}"

    def _shown(self) -> str:
        unsettled = [
            f"at {position}, attempt {history.deliveries[-1][0].attempts}"
            for position, history in self._source.histories.items()
            if not history.settled
        ]
        return f" ({', '.join(unsettled[:SHOWN])}{', …' if len(unsettled) > SHOWN else ''})" if unsettled else ""
