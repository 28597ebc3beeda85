"""One run of one engine in a harness: whether it is busy, and with what."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from penstock.observability.counting import EngineMetrics
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health, State
from penstock.observability.metric_definitions import FUNCTION_FAILURES
from penstock.pipeline.thread_executor import ThreadExecutor
from penstock.testing.engine_under_test import EngineUnderTest
from penstock.testing.memory_queue import MemoryQueue

SHOWN = 3  # unsettled messages that an error lists


class _Health(Health):
    """A health registry that notices when its engine begins to stop, for whatever reason."""

    def __init__(self, on_stopping: Callable[[], None]) -> None:
        super().__init__()
        self._on_stopping = on_stopping

    def set_state(self, component: str, state: State, reason: str = "") -> None:
        super().set_state(component, state, reason)
        if state == "stopping" and component.startswith("engine "):
            self._on_stopping()


class _Counters(MetricsRegistry):
    """Remembers what the engine counts with."""

    def __init__(self) -> None:
        super().__init__()
        self.engine: EngineMetrics | None = None

    def add(self, engine_metrics: EngineMetrics) -> None:
        super().add(engine_metrics)
        self.engine = engine_metrics


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
        self.app = engine.app_name
        self.stopping = False
        self._source = source
        self._health = _Health(self._stop)
        counters = _Counters()
        self.pipeline = engine.start(self._health, counters)
        assert counters.engine is not None  # noqa: S101  (start() adds it)
        self.metrics: EngineMetrics = counters.engine
        self._consumer = source.consumers[-1]
        self._worker = engine.worker_settings()

    async def run(self) -> None:
        """Work until stopped or until an error ends the engine, with the timeouts of the configuration."""
        await self.pipeline.run(self._worker.connect_timeout, self._worker.shutdown_timeout)

    @property
    def on_threads(self) -> bool:
        """Whether a function call is running on a thread. Its end wakes the event loop."""
        executor = self.pipeline.executor
        return isinstance(executor, ThreadExecutor) and executor.taken > executor.returned

    @property
    def at_rest(self) -> bool:
        """Whether there is nothing to do, and nothing is due later."""
        return self._consumer.at_rest and not self.pipeline.in_flight

    def _stop(self) -> None:
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
