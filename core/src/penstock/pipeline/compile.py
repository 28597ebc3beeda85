"""Puts one engine's pipeline together: chooses the variants, binds the callables."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from penstock.config.without_effect import engine_options_without_effect, notes_on_outputs
from penstock.errors import ConfigError
from penstock.events import Observer
from penstock.lineage import Lineage
from penstock.middleware import EngineInfo, Limit, Middleware, Wrapper
from penstock.observability.observers import guarded, together
from penstock.pace import Bucket, Frequency
from penstock.pipeline.at_least_once import AtLeastOnce
from penstock.pipeline.dead_lettering import DeadLetters
from penstock.pipeline.delivery import Delivery
from penstock.pipeline.engine_queues import EngineQueues
from penstock.pipeline.exactly_once import ExactlyOnce, require_transactions
from penstock.pipeline.executor import Executor, OnBatchDone
from penstock.pipeline.failure_log import FailureLog
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.latest import Latest
from penstock.pipeline.loop import Pipeline
from penstock.pipeline.middleware import Surroundings, name_of
from penstock.pipeline.open_resources import OpenResources
from penstock.pipeline.poison import Suspicion
from penstock.pipeline.propagation import Propagation
from penstock.pipeline.state import EngineState
from penstock.pipeline.steps import Steps
from penstock.pipeline.strategy import Strategy
from penstock.pipeline.tail import Tail
from penstock.pipeline.task_executor import TaskExecutor
from penstock.pipeline.tasks import WatchedTasks
from penstock.pipeline.thread_executor import ThreadExecutor
from penstock.queues.queue import InputQueue, OutputQueue

if TYPE_CHECKING:
    from penstock.config.model import EngineSettings
    from penstock.observability.counting import EngineMetrics
    from penstock.observability.health import Health
    from penstock.pipeline.function import Function
    from penstock.queues.resolved_queue import ResolvedQueue


log = logging.getLogger("penstock.options")


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
    resources: OpenResources,
    middleware: Sequence[Middleware | Wrapper] = (),
    observers: Sequence[Observer] = (),
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
        resources: What the function and its middleware take by name.
        middleware: What stands around each call, the first outermost.
        observers: What the program adds to metrics and log.
        raise_if_fatal: Raises an error of the user's code that is to end the engine, and no failed call.

    Raises:
        CapabilityError: `delivery: exactly_once`, and these queues cannot keep it.
        ConfigError: the dead-letter queue is the input queue, or does not take any message.
    """
    _reject_dead_letter_loop(app, source, targets.get(dead_letter_queue or ""))
    for note in engine_options_without_effect(settings, source, dead_letters=dead_letter_queue is not None):
        log.warning("engine %r: %s", app, note)
    for note in notes_on_outputs(settings, targets.values(), dead_letter_queue):
        log.warning("engine %r: %s", app, note)
    whole_batch = bool(source.batch)
    input_queue = InputQueue(source, health=health, on_reconnect=lambda: metrics.reconnects(source.name), engine=app)
    output_queues = {name: _output_queue(app, name, resolved, metrics, health) for name, resolved in targets.items()}
    queues = EngineQueues(input_queue, output_queues, metrics, resources)
    state = EngineState()
    in_flight = InFlight()
    deliveries = WatchedTasks(app, state)
    own = (metrics.observe, FailureLog(app, input_queue, output_queues.get(dead_letter_queue or "")).observe)
    observe = together([*own, *map(guarded, observers)])
    if settings.delivery == "exactly_once":
        require_transactions(app, input_queue, output_queues)
        strategy: Strategy = ExactlyOnce(app, input_queue, output_queues, in_flight, observe, deliveries)
    else:
        strategy = AtLeastOnce(app, input_queue, output_queues, in_flight, observe, deliveries)
    dead_letters = None
    if dead_letter_queue is not None:
        target = output_queues[dead_letter_queue]
        _require_any_body(app, target)
        dead_letters = DeadLetters(app, input_queue, target, strategy, settings.retry, observe, state)
    stop = _stop_from_any_thread(state)
    info = EngineInfo(app, source.name, function.name, function.is_async, whole_batch, metrics.middleware_event, stop)
    wrappers = [each.around(info) if isinstance(each, Middleware) else each for each in middleware]
    around = [resources.bind(wrapper, name_of(wrapper), 1) for wrapper in wrappers if wrapper is not None]
    limits = [limit for each in middleware if isinstance(each, Middleware) and (limit := each.limit(info)) is not None]
    limits += _own_limits(settings)
    steps = Steps(
        input_queue,
        function,
        output_queues,
        whole_batch=whole_batch,
        propagation=Propagation(
            settings.propagate, Lineage(app, source.value, settings.lineage) if settings.lineage else None
        ),
        surroundings=Surroundings(around, info) if around else None,
        raise_if_fatal=raise_if_fatal,
    )
    delivery = Delivery(
        app,
        input_queue,
        strategy,
        dead_letters,
        Tail(app, source.name, output_queues.get(source.name), strategy, observe, state),
        settings.retry,
        settings.on_invalid,
        settings.on_failed,
        in_flight,
        observe,
        state,
    )
    suspicion = Suspicion(
        settings.retry, counted=source.capabilities.redelivery_count, dead_letters=dead_letters is not None
    )
    latest = Latest(in_flight) if settings.batch == "latest" else None
    make_executor = partial(
        _executor, steps, state, settings, latest, is_async=function.is_async, whole_batch=whole_batch
    )
    return Pipeline(
        app,
        queues,
        settings,
        state,
        in_flight,
        make_executor,
        delivery,
        deliveries,
        suspicion,
        observe,
        metrics,
        health,
        limits,
    )


def _own_limits(settings: EngineSettings) -> list[Limit]:
    limits: list[Limit] = []
    if settings.rate is not None:
        limits.append(Bucket(settings.rate))
    if settings.frequency is not None:
        limits.append(Frequency(settings.frequency, settings.batch_size))
    return limits


def _output_queue(app: str, name: str, resolved: ResolvedQueue, metrics: EngineMetrics, health: Health) -> OutputQueue:
    return OutputQueue(
        resolved,
        health=health,
        on_reconnect=lambda: metrics.reconnects(name),
        on_refused=lambda count: metrics.produce_failed(name, count),
        engine=app,
    )


def _require_any_body(app: str, queue: OutputQueue) -> None:
    if not queue.any_body:
        raise ConfigError(
            f"engine {app!r}: dead_letter_queue={queue.name!r} does not take every message ({queue}), "
            "as a dead-letter queue must; name another queue"
        )


def _executor(
    steps: Steps,
    state: EngineState,
    settings: EngineSettings,
    latest: Latest | None,
    on_batch_done: OnBatchDone,
    *,
    is_async: bool,
    whole_batch: bool,
) -> Executor:
    concurrency, batch_size = settings.concurrency, settings.batch_size
    wait = settings.batch_wait if whole_batch else 0.0
    if is_async:
        return TaskExecutor(steps, state, concurrency, batch_size, on_batch_done, wait, latest, whole_batch=whole_batch)
    return ThreadExecutor(steps, state, concurrency, batch_size, on_batch_done, wait, latest)


def _stop_from_any_thread(state: EngineState) -> Callable[[Exception], None]:
    loop = asyncio.get_running_loop()

    def stop(error: Exception) -> None:
        with suppress(RuntimeError):  # the event loop is closed: the engine has ended
            loop.call_soon_threadsafe(state.fail, error)

    return stop


def _reject_dead_letter_loop(app: str, source: ResolvedQueue, dead_letters: ResolvedQueue | None) -> None:
    """Reject a dead-letter queue that is the input queue: a dead letter would come back and fail again without end.

    Raises:
        ConfigError: the dead-letter queue is the input queue, by its name, or by its place in the backend.
    """
    if dead_letters is None:
        return
    where, there = ((each.connector, each.value, each.options) for each in (source, dead_letters))
    if source.name == dead_letters.name or where == there:
        same = "" if source.name == dead_letters.name else f", which is input queue {source.name!r} under another name"
        raise ConfigError(
            f"engine {app!r}: dead_letter_queue={dead_letters.name!r} is where its messages come from{same}: a message "
            f"that fails would be fed to the function for ever; name another queue, or none"
        )
