"""Runs engines until they are at rest, on a clock of their own, within limits."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from time import monotonic

from penstock.errors import PenstockError
from penstock.observability.metrics import EngineMetrics
from penstock.pipeline.loop import ProcessEnded
from penstock.testing.clock import JumpingLoop, OutOfTime, Pace
from penstock.testing.memory_queue import MemoryQueue
from penstock.testing.performance import Performance
from penstock.testing.rehearsal import Rehearsal

log = logging.getLogger("penstock")

CLEARING = 1.0  # seconds of real time to let go of what is stuck
TICK = 1e-6  # seconds by the engines' clock: while that stands still, any timer waits for it to go on


class NotQuiet(PenstockError):
    """An engine did not come to rest within the harness's limits; the text says what it was still busy with."""


class Conductor:
    """The event loop of a harness, and what happens on it.

    Args:
        seed: For the `random` module while engines run.
        limit: Seconds by the engines' clock within which a run must come to rest.
        real_limit: The same in real seconds.

    Attributes:
        metrics: What the engines have counted, one of each engine and run.
    """

    def __init__(self, seed: int, limit: float, real_limit: float) -> None:
        self.metrics: list[EngineMetrics] = []
        self._limit = limit
        self._real_limit = real_limit
        self._random_state = random.Random(seed).getstate()
        self._performances: list[Performance] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._quiet = asyncio.Event()
        self._running = False
        self._loop = JumpingLoop(self._pace)

    @property
    def elapsed(self) -> float:
        """Seconds by the engines' clock, of all runs together."""
        return self._loop.clock.now

    def run(self, engines: Sequence[tuple[Rehearsal, MemoryQueue]], queues: Sequence[MemoryQueue]) -> None:
        """Run until all is at rest; not where another event loop runs.

        Args:
            engines: Each with its input queue.
            queues: All queues.

        Raises:
            NotQuiet: it takes too long.
            PenstockError: why an engine cannot run, or could not go on.
        """
        if self._loop.is_closed():
            raise PenstockError("this harness is closed; run it inside its `with`, and look at what it did afterwards")
        if self._running:
            raise PenstockError("this harness runs already; send what you have to send before, or from the function")
        self._running = True
        clock = self._loop.clock
        clock.deadline = monotonic() + self._real_limit
        try:
            with self._seeded():
                try:
                    self._loop.run_until_complete(self._serve(engines, queues))
                except OutOfTime:
                    raise self._unrest(f"{self._real_limit:g} s of real time", "real_limit") from None
                finally:
                    self._clear()
        finally:
            clock.deadline = inf
            self._running = False

    def close(self) -> None:
        """Let the event loop go. Idempotent."""
        self._loop.close()

    # -- what the stand-ins ask

    def look(self) -> None:
        """Whether all engines are at rest: then they can stop."""
        if self._performances and all(performance.at_rest for performance in self._performances):
            self._quiet.set()

    async def functions_at_rest(self) -> None:
        """Return when no function is being called on a thread."""
        while self._pace() == "stand":  # noqa: ASYNC110  (no polling: the sleep ends when time goes on, not before)
            await asyncio.sleep(TICK)

    # -- what the clock asks

    def _pace(self) -> Pace:
        """A call of a function takes no time, however slow the machine is.

        Once its engine stops, time passes as it does for everybody: it has its grace, and no longer.
        """
        on_threads = [performance for performance in self._performances if performance.on_threads]
        if not on_threads:
            return "jump"
        return "real" if all(performance.stopping for performance in on_threads) else "stand"

    # -- its own

    async def _serve(self, engines: Sequence[tuple[Rehearsal, MemoryQueue]], queues: Sequence[MemoryQueue]) -> None:
        for queue in queues:
            queue.consumers.clear()
        self._quiet.clear()
        performances = self._begin(engines)
        tasks = self._tasks = [asyncio.create_task(performance.run()) for performance in performances]
        quiet = asyncio.create_task(self._quiet.wait())
        unrest: NotQuiet | None = None
        try:
            done, _ = await asyncio.wait([*tasks, quiet], timeout=self._limit, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                unrest = self._unrest(f"{self._limit:g} s of its own time", "limit")
            # One that cannot go on takes the others down in order, as in a worker.
            for performance in performances:
                performance.pipeline.stop()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            quiet.cancel()
            for queue in queues:
                await queue.close()
        errors = [result for result in results if result is not None]
        for error in errors[1:]:
            log.error("%s", error)
        for error in errors:
            raise error.__cause__ if isinstance(error, ProcessEnded) and error.__cause__ else error
        if unrest:
            raise unrest

    def _begin(self, engines: Sequence[tuple[Rehearsal, MemoryQueue]]) -> list[Performance]:
        self._performances = performances = []
        try:
            for rehearsal, source in engines:
                performances.append(Performance(rehearsal, source))
        except BaseException:
            for performance in performances:
                performance.pipeline.executor.close()
            raise
        self.metrics += [performance.metrics for performance in performances]
        return performances

    def _unrest(self, within: str, setting: str) -> NotQuiet:
        lines = [
            f"engine {performance.app!r}: " + ("; ".join(performance.busy_with()) or "at rest")
            for performance in self._performances
        ]
        return NotQuiet(
            f"the harness did not come to rest within {within} ({setting}). "
            + ". ".join(lines)
            + ". A message that is requeued again and again needs a dead_letter_queue, or a function that takes it "
            f"in the end; what is only slow, a larger {setting}"
        )

    def _clear(self) -> None:
        """Cancel what is left, the user's own tasks, too, as `asyncio.run` does at its end."""
        clock = self._loop.clock
        clock.hurry, clock.deadline = True, monotonic() + CLEARING
        try:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(_ended(tasks))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except OutOfTime:
            log.warning("the harness lets go of tasks that do not end when they are cancelled")
        finally:
            clock.hurry = False
        for task in self._tasks:
            if task.done() and not task.cancelled():
                # Raised already, through the loop, if it is an exit or Ctrl-C: asyncio shall not complain later.
                task.exception()

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """The `random` module, which jitter uses, begins at the seed, and is as before afterwards."""
        before = random.getstate()
        random.setstate(self._random_state)
        try:
            yield
        finally:
            self._random_state = random.getstate()
            random.setstate(before)


async def _ended(tasks: set[asyncio.Task[object]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
