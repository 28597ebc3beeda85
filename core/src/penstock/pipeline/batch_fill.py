"""Lets the messages that wait for a call become a full list, for so long and no longer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class BatchFill:
    """Knows since when messages wait.

    Args:
        size: A full list.
        wait: Seconds that the first message of a list waits at most.
    """

    def __init__(self, size: int, wait: float) -> None:
        self._size = size
        self._wait = wait
        self._arrivals: deque[tuple[float, int]] = deque()  # when, and how many of those that still wait
        self._timer: asyncio.TimerHandle | None = None

    def arrived(self, count: int) -> None:
        """So many messages have begun to wait."""
        self._arrivals.append((asyncio.get_running_loop().time(), count))

    def took(self, count: int) -> None:
        """So many of the oldest messages wait no longer."""
        while count and self._arrivals:
            at, waiting = self._arrivals.popleft()
            if waiting > count:
                self._arrivals.appendleft((at, waiting - count))
            count -= min(count, waiting)

    def left(self, waiting: int) -> float:
        """Seconds for which the messages that wait may go on doing so; 0 if the list is full."""
        if waiting >= self._size or not self._arrivals:
            return 0.0
        return self._arrivals[0][0] + self._wait - asyncio.get_running_loop().time()

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, after so many seconds, unless a later wish replaces this one."""
        self.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, call)

    def cancel(self) -> None:
        """Call no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
