"""The harness runs your engine in a test, on queues in memory, with a clock of its own.

with Harness(invoice) as harness:
    harness.send("orders", Order(id=1, cents=100))
    harness.run()
    assert harness.sent("invoices", Invoice) == [Invoice(order=1, cents=100)]
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Self, TypeVar, overload

from penstock.config.files import Source
from penstock.dead_letters import DeadLetter, read
from penstock.engine import Engine
from penstock.errors import ConfigError, delay_problem
from penstock.message import QueueMessage, Record
from penstock.observability.metric_definitions import LATE_SETTLEMENTS, RETRIES, SETTLED, Metric
from penstock.options import Role
from penstock.pipeline.stream_app import StreamApp
from penstock.plugins.hints import nearest
from penstock.queues.adapters import plain_encoder_for
from penstock.queues.codec import Codec
from penstock.queues.plain_bodies import PlainBodySerializer
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.testing.engine_under_test import EngineUnderTest, QueueStore
from penstock.testing.fault_injection import ConsumerFaults, ProducerFaults
from penstock.testing.memory_queue import MemoryQueue, as_sent
from penstock.testing.production_queue import Profiles
from penstock.testing.test_runner import TestRunner

Model = TypeVar("Model")

PLAIN = (dict, list, tuple, str, int, float)

_numbers = itertools.count(1)


class Harness:
    """Runs engines in a test: no broker, no port, no signal handler, no waiting.

    Every queue is in memory; codecs, data models and settings are those of the configuration. Two engines share a queue
    with the same backend and name. Harnesses share nothing. Use it as a context manager, or call `close` at the end.

    Args:
        *engines: `Engine`s, or functions decorated with `stream_app`. They are not changed.
        config: Instead of each engine's own configuration: a file's path, or Python data.
        profiles: The settings of profiles that are not installed, as keys of a queue. Those of Penstock's own
            plugins are known.
        resources: Values by name that the functions get instead of what the engines' resources open.
        seed: Of everything random: the jitter of waits, the `random` module during `run`, and `harness.random`.
        limit: Seconds by the harness's clock within which the engines must become idle in one `run`; a day.
        real_limit: The same in real seconds; None for debugging.

    Attributes:
        random: A random generator for your tests, for random faults that can be repeated.

    Raises:
        ConfigError, PluginError: as when the engine starts, except problems of backends; or the connector `memory` is
            not installed.
    """

    def __init__(
        self,
        *engines: Engine | StreamApp[..., Any],
        config: Source | None = None,
        profiles: Profiles | None = None,
        resources: Mapping[str, Any] | None = None,
        seed: int = 0,
        limit: float = 86_400.0,
        real_limit: float | None = 10.0,
    ) -> None:
        if not engines:
            raise ConfigError("a harness needs an engine: Harness(app)")
        self.random = random.Random(seed)
        self._runner = TestRunner(seed, limit, inf if real_limit is None else real_limit)
        self._store = QueueStore(f"harness-{os.getpid()}-{next(_numbers)}", self._runner, profiles or {})
        self._queues: dict[str, MemoryQueue] = {}
        self._resolved: dict[tuple[str, Role], ResolvedQueue] = {}
        try:
            self._engines = [self._under_test(engine, config) for engine in engines]
            self._replace_resources(resources or {})
        except BaseException:
            self.close()
            raise

    def _under_test(self, engine: Engine | StreamApp[..., Any], config: Source | None) -> EngineUnderTest:
        original: object = engine.engine if isinstance(engine, StreamApp) else engine
        if not isinstance(original, Engine):
            shown = getattr(engine, "__qualname__", type(engine).__name__)
            raise ConfigError(
                f"a harness takes an Engine, or a function decorated with its stream_app; {shown} is neither"
            )
        tested, queues = self._store.engine_under_test(original, config)
        for name, queue in queues.items():
            if self._queues.setdefault(name, queue) is not queue:
                raise ConfigError(
                    f"{name!r} is one queue for engine {original.app_name!r} and another queue for an earlier engine; "
                    f"give each engine its own harness"
                )
        self._resolved |= tested.queues
        return tested

    def _replace_resources(self, resources: Mapping[str, Any]) -> None:
        known = dict.fromkeys(name for each in self._engines for name in each.engine.resource_names)
        for name in resources:
            if name not in known:
                raise _unknown(name, "a resource", known)
        for each in self._engines:
            each.resources = resources

    # -- messages and counters

    def send(
        self,
        queue: str,
        obj: Any,
        *,
        key: str | bytes | None = None,
        headers: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes | None]] = (),
        delay: float = 0.0,
    ) -> None:
        """Put a message into a queue, as another program would. It is there when `run` begins.

        Args:
            queue: The queue's name.
            obj: A model, encoded by the queue's codec; plain data, encoded by its serializer whether or not it fits the
                queue's data model; or bytes or None (a tombstone), unchanged.
            key, headers: Text or bytes.
            delay: Seconds until it may be delivered.

        Raises:
            ConfigError: no engine of this harness has such a queue.
            ValueError: the object cannot be encoded, or the delay is not a number of seconds.
        """
        if queue not in self._queues:
            raise _unknown(queue, "a queue", self._queues)
        if (problem := delay_problem(delay)) is not None:
            raise ValueError(f"a message for {queue!r}: its delay is {problem}")
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self._queues[queue].send(
            Record(
                self._encoded(queue, obj),
                key.encode() if isinstance(key, str) else key,
                [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs],
                delay,
            )
        )

    @overload
    def sent(self, queue: str) -> list[Any]: ...
    @overload
    def sent(self, queue: str, model: type[Model]) -> list[Model]: ...
    def sent(self, queue: str, model: Any = None) -> list[Any]:
        """What engines have sent to a queue, in order, decoded by the queue's codec.

        Args:
            queue: The name of an output queue.
            model: Decode as this model instead of the queue's data model. Without either the result is plain data.

        Raises:
            ConfigError: no engine of this harness sends to such a queue, or the queue has no model handler for `model`.
            MessageError: a body does not fit.
        """
        resolved = self._output(queue)
        if model is not None and resolved.model_handler is None:
            raise ConfigError(f"queue {queue!r} has no model handler, so its records cannot become a {model.__name__}")
        # Data that the real producer gets as they are stand in memory as JSON.
        plain = plain_encoder_for(resolved.connector_class, resolved) is not None
        serializer = PlainBodySerializer() if plain else resolved.serializer
        codec = Codec(serializer, resolved.model_handler, _model_of(resolved) if model is None else model)
        return [_decoded(codec, record, f"record {i} of {queue!r}") for i, record in enumerate(self.records(queue), 1)]

    def records(self, queue: str) -> list[Record]:
        """What engines have sent to a queue as bytes, with key, headers, delay and options."""
        self._output(queue)
        return [as_sent(record) for record in self._queues[queue].records]

    def dead_letters(self, queue: str | None = None) -> list[DeadLetter]:
        """What engines have sent to their dead-letter queues, or to this queue, with the reasons."""
        names = dict.fromkeys(each.engine.dead_letter_queue for each in self._engines) if queue is None else (queue,)
        records = [record for name in names if name is not None for record in self.records(name)]
        return [read(QueueMessage(None, record.message, record.key, record.headers)) for record in records]

    @property
    def attempts(self) -> list[int]:
        """How often all engines tried each message, in the order in which the messages first came."""
        return [history.tries for queue in self._inputs() for history in queue.histories.values()]

    @property
    def left(self) -> int:
        """Messages in the engines' input queues that are not settled."""
        return sum(queue.waiting for queue in self._inputs())

    @property
    def succeeded(self) -> int:
        """Messages that were processed and settled."""
        return self._count(SETTLED, "succeeded")

    @property
    def retries(self) -> int:
        """Further tries of a message by the same worker, after a function raised."""
        return self._count(RETRIES)

    @property
    def requeued(self) -> int:
        """Times that a message was requeued."""
        return self._count(SETTLED, "requeued")

    @property
    def skipped(self) -> int:
        """Invalid messages that were settled, as the configuration says."""
        return self._count(SETTLED, "skipped")

    @property
    def late(self) -> int:
        """Messages that the engine had lost when it settled them."""
        return self._count(LATE_SETTLEMENTS)

    @property
    def elapsed(self) -> float:
        """Seconds that all runs have taken by the harness's clock. Only waits count; function calls take no time."""
        return self._runner.elapsed

    # -- faults

    def producer(self, queue: str) -> ProducerFaults:
        """Faults to inject when engines send to this queue."""
        self._output(queue)
        return self._queues[queue].producer_faults

    @property
    def consumer(self) -> ConsumerFaults:
        """Faults to inject when the (first) engine reads its input queue."""
        return self.consumer_of(self._engines[0].engine.input_queue)

    def consumer_of(self, queue: str) -> ConsumerFaults:
        """Faults to inject when another engine reads its input queue."""
        inputs = [each.engine.input_queue for each in self._engines]
        if queue not in inputs:
            raise _unknown(queue, "an input queue", inputs)
        return self._queues[queue].consumer_faults

    # -- running

    def run(self) -> None:
        """Run the engines until they are idle: every message is in its final state, and none is due later.

        Each call is a worker's life: connect, work, stop in order. In an async test, where an event loop is already
        running, the engines get a thread of their own and that loop waits; `arun` lets it continue.

        Raises:
            NotIdle: they are still busy at the time limit.
            PenstockError: an engine could not start, or stopped with this error.
            BaseException: a function raised it, and it is not an `Exception`. So `pytest.fail` fails the test. In a
                worker it is a failed call.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._run()
            return
        _on_a_thread(self._run)

    async def arun(self) -> None:
        """Like `run`, while the running event loop continues: for functions that call a server of the test."""
        await asyncio.to_thread(self._run)

    def close(self) -> None:
        """Drop all messages and close the event loop. A second call does nothing."""
        self._runner.close()
        self._store.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # -- internal

    def _run(self) -> None:
        engines = [(each, self._queues[each.engine.input_queue]) for each in self._engines]
        self._runner.run(engines, self._store.queues)

    def _inputs(self) -> list[MemoryQueue]:
        return list(dict.fromkeys(self._queues[each.engine.input_queue] for each in self._engines))

    def _count(self, metric: Metric, label: str = "") -> int:
        return sum(metrics.counts().get((metric, label), 0) for metrics in self._runner.metrics)

    def _output(self, queue: str) -> ResolvedQueue:
        outputs = {name: resolved for (name, role), resolved in self._resolved.items() if role == "output"}
        if queue not in outputs:
            raise _unknown(queue, "an output queue", outputs)
        return outputs[queue]

    def _encoded(self, queue: str, obj: Any) -> bytes | None:
        if obj is None or isinstance(obj, bytes):
            return obj
        resolved = self._resolved.get((queue, "input")) or self._resolved[queue, "output"]
        serializer, handler = resolved.serializer, resolved.model_handler
        try:
            if isinstance(obj, PLAIN) and serializer is not None:
                try:
                    return serializer.serialize(obj)
                except Exception:  # a list of models is not plain data
                    if handler is None:
                        raise
            body: bytes | None = Codec(serializer, handler, _model_of(resolved)).encode(obj)
        except Exception as error:
            raise ValueError(f"a {type(obj).__name__} cannot be sent to queue {queue!r}: {error}") from error
        return body


def _model_of(resolved: ResolvedQueue) -> Any:
    return Any if resolved.data_model_is_default and resolved.model_handler else resolved.data_model


def _decoded(codec: Codec, record: Record, what: str) -> Any:
    try:
        return codec.decode(record.message)
    except Exception as error:
        _stage, explained = codec.explain(record.message, error)
        raise type(explained)(f"{what}: {explained}") from error


def _unknown(queue: str, kind: str, known: Iterable[str]) -> ConfigError:
    names = list(known)
    near = nearest(queue, names)
    hint = f"did you mean {near!r}?" if near else f"these are {', '.join(map(repr, names)) or 'none'}"
    return ConfigError(f"{queue!r} is not {kind} of the engines in this harness; {hint}")


def _on_a_thread(call: Callable[[], None]) -> None:
    """Make a call on a thread of its own and wait for it, because a thread can run only one event loop."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            context.run(call)
        except BaseException as error:  # noqa: BLE001  (it is the caller's)
            errors.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=work, name="penstock-harness", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
