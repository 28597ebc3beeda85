"""Puts one engine's pipeline together: chooses the variants, binds the callables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from penstock.errors import ConfigError
from penstock.middleware import EngineInfo, Middleware, Wrapper
from penstock.pipeline.delivery import AtLeastOnce
from penstock.pipeline.delivery_exactly_once import ExactlyOnce, refuse_without_transactions
from penstock.pipeline.lanes import Lanes, TaskLanes, ThreadLanes
from penstock.pipeline.loop import Pipeline
from penstock.pipeline.middleware import Surroundings
from penstock.pipeline.poison import Suspicion
from penstock.pipeline.steps import Steps
from penstock.queues.queue import InputQueue, OutputQueue

if TYPE_CHECKING:
    from penstock.config.model import EngineSettings
    from penstock.config.resolve import ResolvedQueue
    from penstock.observability.health import Health
    from penstock.observability.metrics import EngineMetrics
    from penstock.pipeline.function import Function


def compile_pipeline(
    app: str,
    function: Function,
    source: ResolvedQueue,
    targets: Mapping[str, ResolvedQueue],
    dead_letter_queue: str | None,
    settings: EngineSettings,
    metrics: EngineMetrics,
    health: Health,
    *,
    middleware: Sequence[Middleware | Wrapper] = (),
    raise_if_fatal: Callable[[BaseException], None],
) -> Pipeline:
    """A pipeline that is ready to run. Makes connectors, connects nothing.

    Args:
        app: The engine's name.
        function: The user's function.
        source: The input queue.
        targets: Output queues by name, the dead-letter queue among them.
        dead_letter_queue: Which of them gets dead letters.
        settings: Limits and policies.
        metrics, health: Where the pipeline shows what it does.
        middleware: What stands around each call, the first outermost.
        raise_if_fatal: Raises an error of the user's code that is to end the engine, and no failed call.

    Raises:
        CapabilityError: `delivery: exactly_once`, and these queues cannot keep it.
        ConfigError: the dead-letter queue does not take any message.
    """
    whole_batch = bool(source.batch)
    input_queue = InputQueue(source, health=health, on_reconnect=lambda: metrics.reconnects(source.name), engine=app)
    output_queues = {name: _output_queue(app, name, resolved, metrics, health) for name, resolved in targets.items()}
    dead_letters = output_queues[dead_letter_queue] if dead_letter_queue is not None else None
    if dead_letters is not None and not dead_letters.any_body:
        raise ConfigError(
            f"engine {app!r}: dead_letter_queue={dead_letters.name!r} is no queue for any message ({dead_letters}), "
            "and a dead letter is whatever came; name another queue"
        )
    stop = _Stop()
    info = EngineInfo(app, source.name, function.name, function.is_async, whole_batch, metrics.middleware_event, stop)
    wrappers = [each.around(info) if isinstance(each, Middleware) else each for each in middleware]
    around = [wrapper for wrapper in wrappers if wrapper is not None]
    steps = Steps(
        input_queue,
        function,
        output_queues,
        whole_batch=whole_batch,
        propagate=settings.propagate,
        surroundings=Surroundings(around, info) if around else None,
        raise_if_fatal=raise_if_fatal,
    )
    suspicion = Suspicion(
        settings.retry, counted=source.capabilities.redelivery_count, convicts=dead_letters is not None
    )
    pipeline = Pipeline(app, input_queue, output_queues, settings, metrics, health, suspicion)
    stop.pipeline = pipeline
    pipeline.lanes = _lanes(pipeline, steps, function, settings, whole_batch=whole_batch)
    delivery = AtLeastOnce
    if settings.delivery == "exactly_once":
        refuse_without_transactions(app, input_queue, output_queues)
        delivery = ExactlyOnce
    pipeline.delivery = delivery(
        app, input_queue, output_queues, dead_letters, settings.retry, settings.on_invalid, metrics, pipeline
    )
    return pipeline


def _output_queue(app: str, name: str, resolved: ResolvedQueue, metrics: EngineMetrics, health: Health) -> OutputQueue:
    return OutputQueue(
        resolved,
        health=health,
        on_reconnect=lambda: metrics.reconnects(name),
        on_refused=lambda count: metrics.produce_failed(name, count),
        engine=app,
    )


def _lanes(
    pipeline: Pipeline, steps: Steps, function: Function, settings: EngineSettings, *, whole_batch: bool
) -> Lanes:
    if function.is_async:
        return TaskLanes(
            steps,
            settings.concurrency,
            settings.batch_size,
            pipeline.finished,
            pipeline.stop_with,
            whole_batch=whole_batch,
        )
    return ThreadLanes(steps, settings.concurrency, settings.batch_size, pipeline.finished, pipeline.stop_with)


class _Stop:
    """Stops a pipeline from any thread; middleware has it before the pipeline is built."""

    def __init__(self) -> None:
        self.pipeline: Pipeline | None = None
        self._loop = asyncio.get_running_loop()

    def __call__(self, error: Exception) -> None:
        if self.pipeline is not None:
            with suppress(RuntimeError):  # the event loop is closed: the engine has ended
                self._loop.call_soon_threadsafe(self.pipeline.stop_with, error)
