"""An event loop with a clock of its own, for tests: when all that is left to do is to wait, its time jumps ahead.

A backoff of 30 s, a delay of an hour, a timeout: each ends at once, in the right order. `time.time`, `time.sleep` and
other threads still use the real clock.

Before each wait the loop asks its owner how time passes; see `TimeMode`. While something outside of the loop is at work
(a socket or pipe that it watches, a call in an executor such as `asyncio.to_thread`), it waits in real time.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable
from time import monotonic
from typing import Any, Literal

TimeMode = Literal["jump", "stop", "real"]
"""How time passes while the loop waits.

- jump: straight to the next timer
- stop: not at all, until something outside of the loop wakes it
- real: as the real clock
"""

SELF_PIPE = 1  # an idle event loop watches one socket: the one by which threads wake it


class OutOfTime(Exception):
    """The loop's limit of real time is over. Raised by the call that runs the loop."""


class Clock:
    """The time of one loop.

    Attributes:
        now: Seconds since the loop was made.
        deadline: When the loop must be done, by the real `monotonic`; later it raises `OutOfTime`.
        mode: Asked before each wait.
        closing: The loop is about to close, so its time jumps even while other work runs.
        calls: The number of calls that run in an executor.
    """

    def __init__(self, mode: Callable[[], TimeMode]) -> None:
        self.now = 0.0
        self.deadline = math.inf
        self.mode = mode
        self.closing = False
        self.calls = 0


class _Selector(selectors.DefaultSelector):
    """Waits as the clock says. An event loop waits nowhere else."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if monotonic() > self._clock.deadline:
            raise OutOfTime
        if ready or (timeout is not None and timeout <= 0):
            return ready
        mode = self._time_mode()
        if mode == "jump" and timeout is not None:
            self._clock.now += timeout
            return ready
        if mode == "real":
            return self._wait_in_real_time(timeout)
        return self._until_woken()

    def _time_mode(self) -> TimeMode:
        clock = self._clock
        if clock.closing:
            return "jump"
        mode = clock.mode()
        return "real" if mode == "jump" and (clock.calls or len(self.get_map()) > SELF_PIPE) else mode

    def _wait_in_real_time(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        clock, began = self._clock, monotonic()
        wait = min(math.inf if timeout is None else timeout, clock.deadline - began)
        ready = super().select(None if wait == math.inf else max(0.0, wait))
        elapsed = monotonic() - began
        # The timer that was waited for is due, even if this clock is slightly behind.
        clock.now += elapsed if ready else max(elapsed, wait)
        return ready

    def _until_woken(self) -> list[tuple[selectors.SelectorKey, int]]:
        deadline = self._clock.deadline
        ready: list[tuple[selectors.SelectorKey, int]] = []
        while not ready:
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise OutOfTime
            ready = super().select(None if remaining == math.inf else remaining)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop with a `Clock`. Run and close it like any other."""

    def __init__(self, mode: Callable[[], TimeMode] = lambda: "jump") -> None:
        self.clock = Clock(mode)
        super().__init__(_Selector(self.clock))

    def time(self) -> float:
        """Seconds since the loop was made, by its own clock."""
        return self.clock.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run a call in an executor. Time does not jump until it has returned."""
        call = super().run_in_executor(executor, func, *args)
        self.clock.calls += 1
        call.add_done_callback(self._called)
        return call

    def _called(self, _call: asyncio.Future[Any]) -> None:
        self.clock.calls -= 1
