"""A stand to try engines on: queues in memory of a test's own, and workers that run inside the test."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from penstock.config.files import load
from penstock.config.model import QueueConfig, WorkerSettings
from penstock.config.resolve import registry_for, resolve_queue
from penstock.engine import Engine
from penstock.message import QueueMessage, Record
from penstock.options import Role
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.worker.worker import Runnable, Worker

TIMEOUT = 15.0
"""Seconds after which a test that waits for something gives up: far more than anything here takes."""

SHORT_RETRY = {"max_attempts": 3, "initial_delay": 0.01, "max_delay": 0.02, "jitter": 0.0}
"""A retry policy with which a test need not wait."""


class EngineFixture:
    """Queues of one namespace in memory, engines between them, and what lies in the queues."""

    def __init__(self) -> None:
        self._namespace = uuid.uuid4().hex

    def memory(self, name: str, **keys: Any) -> QueueConfig:
        """A queue in memory; further keys as in a configuration, `config` without the namespace."""
        config = {"namespace": self._namespace, **keys.pop("config", {})}
        return QueueConfig(name=name, connector="memory", config=config, **keys)

    def raw(self, name: str, **keys: Any) -> QueueConfig:
        """The same without serializer and model: bytes."""
        return self.memory(name, **{"serializer": None, "model_handler": None, **keys})

    def engine(
        self,
        function: Callable[..., Any],
        outputs: Sequence[str] = ("out",),
        *,
        source: QueueConfig | None = None,
        targets: Sequence[QueueConfig] = (),
        dead_letters: bool = False,
        **settings: Any,
    ) -> Engine:
        """An engine from "in" to the outputs; "dead" is its dead-letter queue.

        Args:
            function: What it runs.
            outputs: Its output queues; one that `targets` does not name is in memory, for JSON.
            source: The input queue, if it is not "in" in memory, for JSON.
            targets: Output queues of another kind, the dead-letter queue among them.
            dead_letters: Whether it has a dead-letter queue.
            **settings: Further arguments of `Engine`.
        """
        queues = {"in": self.memory("in"), **{name: self.memory(name) for name in outputs}, "dead": self.raw("dead")}
        queues |= {queue.name: queue for queue in targets}
        if source is not None:
            queues["in"] = source
        engine = Engine(
            **{
                "input_queue": "in",
                "output_queues": outputs,
                "app_name": "penstock",
                "dead_letter_queue": "dead" if dead_letters else None,
                "queue_config": list(queues.values()),
                "retry": SHORT_RETRY,
                **settings,
            }
        )
        engine.stream_app(function)
        return engine

    def put(self, *bodies: bytes | Record | None, queue: str = "in") -> None:
        """Lay messages into a queue in memory."""
        records = [body if isinstance(body, Record) else Record(body) for body in bodies]

        async def main() -> None:
            async with OutputQueue(self._resolved(queue, "output")) as target:
                assert not await target.produce(records)

        _run(main())

    def numbers(self, count: int, queue: str = "in") -> None:
        """Lay the JSON numbers from 0 into a queue."""
        self.put(*(b"%d" % number for number in range(count)), queue=queue)

    def take(self, queue: str = "out") -> list[QueueMessage]:
        """Take all messages out of a queue in memory."""

        async def main() -> list[QueueMessage]:
            found: list[QueueMessage] = []
            async with InputQueue(self._resolved(queue, "input")) as source:
                while messages := await source.consume(10_000, 0.0):
                    await source.on_success(messages)
                    found += messages
            return found

        return _run(main())

    def bodies(self, queue: str = "out") -> list[bytes | None]:
        """The bodies of all messages of a queue, which is empty afterwards."""
        return [message.message for message in self.take(queue)]

    def _resolved(self, name: str, role: Role) -> ResolvedQueue:
        configuration = load([self.raw(name)])
        return resolve_queue(configuration, name, role, registry=registry_for(configuration))


def _run(main: Any) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main)
    # Inside a test's own loop: queues in memory wait only when they are asked to, so one step runs it through.
    try:
        main.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a queue in memory waited")


def settings(**values: Any) -> WorkerSettings:
    """A worker's settings without an endpoint, with timeouts that a test survives."""
    return WorkerSettings(**{"metrics_port": None, "connect_timeout": 5.0, "shutdown_timeout": 5.0, **values})


def drain(*runnables: Runnable, **values: Any) -> Worker:
    """Run until every input queue is empty; raises what the worker raises."""
    worker = Worker(runnables, settings(**values), drain=True)

    async def main() -> None:
        async with asyncio.timeout(TIMEOUT):
            await worker.serve()

    asyncio.run(main())
    return worker


class Run:
    """A worker at work."""

    def __init__(self, worker: Worker, task: asyncio.Task[None]) -> None:
        self.worker = worker
        self.task = task

    async def stop(self) -> None:
        """Stop it, and wait until it has; raises what it raises."""
        self.worker.stop()
        await self.ended()

    async def ended(self) -> None:
        """Wait until it has ended by itself; raises what it raises."""
        async with asyncio.timeout(TIMEOUT):
            await asyncio.shield(self.task)


@asynccontextmanager
async def running(*runnables: Runnable, **values: Any) -> AsyncIterator[Run]:
    """Run engines while the block runs; what they raise is raised at its end, unless `ended` or `stop` raised it."""
    worker = Worker(runnables, settings(**values))
    run = Run(worker, asyncio.create_task(worker.serve()))
    try:
        yield run
        if not run.task.done():
            await run.stop()
    finally:
        if not run.task.done():
            run.task.cancel()
            await asyncio.gather(run.task, return_exceptions=True)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Look again and again until something is so, while everything else goes on."""
    try:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not so after {TIMEOUT:g} s: {what or condition}") from None


async def for_a_while(seconds: float, never: Callable[[], object]) -> None:
    """Let everything go on for some time, during which something must never be so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not never()
        await asyncio.sleep(0.002)


def run(main: Awaitable[None]) -> None:
    """`asyncio.run` for a test."""

    async def whole() -> None:
        await main

    asyncio.run(whole())


def warnings_in(records: Iterable[logging.LogRecord]) -> list[str]:
    """What was logged as a warning or worse."""
    return [record.getMessage() for record in records if record.levelno >= logging.WARNING]


def echo(message: Any) -> Any:
    """The function of many tests: every message goes to "out"."""
    return "out", message


def out(stand: EngineFixture, queue: str = "out") -> list[Any]:
    """The JSON values of all messages of a queue, which is empty afterwards."""
    return [None if body is None else json.loads(body) for body in stand.bodies(queue)]
