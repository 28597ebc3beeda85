"""Runs engines until they are idle, on a clock of their own, within time limits."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from time import monotonic

from penstock.errors import NotIdle, PenstockError, ProcessEnded
from penstock.observability.counting import EngineMetrics
from penstock.testing.clock import JumpingLoop, OutOfTime, TimeMode
from penstock.testing.engine_run import EngineRun
from penstock.testing.engine_under_test import EngineUnderTest
from penstock.testing.memory_queue import MemoryQueue

log = logging.getLogger("penstock")

CLEARING = 1.0  # seconds of real time to cancel tasks that are stuck
TICK = 1e-6  # seconds by the engines' clock; while that clock is stopped, a sleep of any length waits for it


class TestRunner:
    """Owns the event loop of a harness and runs engines on it.

    Args:
        seed: For the `random` module while engines run.
        limit: Seconds by the engines' clock within which the engines must become idle.
        real_limit: The same in real seconds.

    Attributes:
        metrics: The counters of each engine, one for each run.
    """

    def __init__(self, seed: int, limit: float, real_limit: float) -> None:
        self.metrics: list[EngineMetrics] = []
        self._limit = limit
        self._real_limit = real_limit
        self._random_state = random.Random(seed).getstate()
        self._runs: list[EngineRun] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self._running = False
        self._loop = JumpingLoop(self._time_mode)

    @property
    def elapsed(self) -> float:
        """Seconds by the engines' clock, of all runs together."""
        return self._loop.clock.now

    def run(self, engines: Sequence[tuple[EngineUnderTest, MemoryQueue]], queues: Sequence[MemoryQueue]) -> None:
        """Run until all engines are idle. Must not be called where another event loop runs.

        Args:
            engines: Each with its input queue.
            queues: All queues.

        Raises:
            NotIdle: the time limit is over.
            PenstockError: an engine could not start, or stopped with this error.
        """
        if self._loop.is_closed():
            raise PenstockError("this harness is closed; call run() inside its `with` block")
        if self._running:
            raise PenstockError("this harness is already running; send messages before run(), or from the function")
        self._running = True
        clock = self._loop.clock
        clock.deadline = monotonic() + self._real_limit
        try:
            with self._seeded():
                try:
                    self._loop.run_until_complete(self._serve(engines, queues))
                except OutOfTime:
                    raise self._not_idle(f"{self._real_limit:g} s of real time", "real_limit") from None
                finally:
                    self._clear()
        finally:
            clock.deadline = inf
            self._running = False

    def close(self) -> None:
        """Close the event loop. A second call does nothing."""
        self._loop.close()

    # -- called by the fake connectors

    def look(self) -> None:
        """Let the engines stop if all of them are idle."""
        if self._runs and all(run.at_rest for run in self._runs):
            self._idle.set()

    async def calls_finished(self) -> None:
        """Return when no function call is running on a thread."""
        while self._time_mode() == "stop":  # noqa: ASYNC110  (not polling: the sleep ends only when the clock goes on)
            await asyncio.sleep(TICK)

    # -- called by the clock

    def _time_mode(self) -> TimeMode:
        """Stop the clock during function calls, so that they take no time, however slow the machine is.

        Once an engine stops, real time counts, because the call must end within `shutdown_timeout`.
        """
        on_threads = [run for run in self._runs if run.on_threads]
        if not on_threads:
            return "jump"
        return "real" if all(run.stopping for run in on_threads) else "stop"

    # -- internal

    async def _serve(
        self, engines: Sequence[tuple[EngineUnderTest, MemoryQueue]], queues: Sequence[MemoryQueue]
    ) -> None:
        for queue in queues:
            queue.consumers.clear()
        self._idle.clear()
        runs = self._begin(engines)
        tasks = self._tasks = [asyncio.create_task(run.run()) for run in runs]
        idle = asyncio.create_task(self._idle.wait())
        not_idle: NotIdle | None = None
        try:
            done, _ = await asyncio.wait([*tasks, idle], timeout=self._limit, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                not_idle = self._not_idle(f"{self._limit:g} s of its own time", "limit")
            # An engine that fails stops the others in order, as in a worker.
            for run in runs:
                run.pipeline.stop()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            idle.cancel()
            for queue in queues:
                await queue.close()
        errors = [result for result in results if result is not None]
        for error in errors[1:]:
            log.error("%s", error)
        for error in errors:
            raise error.__cause__ if isinstance(error, ProcessEnded) and error.__cause__ else error
        if not_idle:
            raise not_idle

    def _begin(self, engines: Sequence[tuple[EngineUnderTest, MemoryQueue]]) -> list[EngineRun]:
        self._runs = runs = []
        try:
            for engine, source in engines:
                runs.append(EngineRun(engine, source))
        except BaseException:
            for run in runs:
                run.pipeline.executor.close()
            raise
        self.metrics += [run.metrics for run in runs]
        return runs

    def _not_idle(self, within: str, setting: str) -> NotIdle:
        lines = [f"engine {run.app!r}: " + ("; ".join(run.busy_with()) or "idle") for run in self._runs]
        return NotIdle(
            f"the harness did not become idle within {within} ({setting}). "
            + ". ".join(lines)
            + ". If a message is requeued again and again, configure a dead_letter_queue or let the function "
            f"accept it; if the work is only slow, give a larger {setting}"
        )

    def _clear(self) -> None:
        """Cancel every task that is left, as `asyncio.run` does at its end."""
        clock = self._loop.clock
        clock.closing, clock.deadline = True, monotonic() + CLEARING
        try:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(_ended(tasks))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except OutOfTime:
            log.warning("the harness abandons tasks that do not end when they are cancelled")
        finally:
            clock.closing = False
        for task in self._tasks:
            if task.done() and not task.cancelled():
                # An exit or Ctrl-C was already raised by the loop; this keeps asyncio from reporting it again.
                task.exception()

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Seed the `random` module, which jitter uses, and restore its state afterwards."""
        before = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(before)


async def _ended(tasks: set[asyncio.Task[object]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
