"""A clock of its own for tests: an event loop whose time jumps ahead when all that is left to do is to wait.

A backoff of 30 s, a delay of an hour, a timeout: each is over at once, in its right order, and takes no time. What the
loop's time means for those who ask elsewhere (`time.time`, `time.sleep`, another thread) is untouched.

How the time passes is asked of the owner before each wait, see `TimeMode`. Beside that the loop knows by itself when
something outside of it is at work, and then waits in real time: a socket or pipe that it watches, a call in an executor
(`asyncio.to_thread`).
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
- stand: not at all, until something outside of the loop wakes it
- real: as it does for everybody
"""

SELF_PIPE = 1  # what a selector event loop watches when it watches nothing: the socket by which threads wake it


class OutOfTime(Exception):
    """The real time that the loop was given is used up; raised by whatever runs the loop."""


class Clock:
    """The time of one loop.

    Attributes:
        now: Seconds since the loop was made.
        deadline: When the loop must be done, by the real `monotonic`; past it, it raises `OutOfTime`.
        mode: Asked before each wait.
        closing: Jump, whatever else is at work: all that is left is to clear up.
        calls: Calls in an executor that are under way.
    """

    def __init__(self, mode: Callable[[], TimeMode]) -> None:
        self.now = 0.0
        self.deadline = math.inf
        self.mode = mode
        self.closing = False
        self.calls = 0


class _Selector(selectors.DefaultSelector):
    """Waits as the clock says. Here, because it is the only place where an event loop waits."""

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
        # A timer that was waited for to its end is due, even if this clock is a hair behind.
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
    """An event loop on a `Clock`; run it and close it like any other."""

    def __init__(self, mode: Callable[[], TimeMode] = lambda: "jump") -> None:
        self.clock = Clock(mode)
        super().__init__(_Selector(self.clock))

    def time(self) -> float:
        """Seconds since the loop was made, by its own clock."""
        return self.clock.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """As everywhere; until the call is through, time does not jump."""
        call = super().run_in_executor(executor, func, *args)
        self.clock.calls += 1
        call.add_done_callback(self._called)
        return call

    def _called(self, _call: asyncio.Future[Any]) -> None:
        self.clock.calls -= 1
