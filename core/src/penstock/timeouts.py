"""For connectors: limits for calls that their client does not limit itself."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Self, TypeVar

T = TypeVar("T")

BLOCKED_AFTER = 0.25  # seconds by which a timer is late if the event loop was blocked


def run_with_timeout(call: Callable[[], T], seconds: float) -> T:
    """Make a call that blocks, and return what it returns.

    Raises:
        TimeoutError: it did not return within `seconds`. It goes on, on a daemon thread that holds up nothing.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001  (raised in the caller)
            errors.append(error)

    thread = threading.Thread(target=run, name="penstock-run-with-timeout", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if results:
        return results[0]
    raise TimeoutError(f"the call did not return within {seconds:g} s")


class Watchdog:
    """Calls a function if a block shows no progress for a time. Cheaper than a task and its cancellation.

        with Watchdog(5.0, connection.cut) as watchdog:
            async for answer in answers:
                watchdog.feed()

    If the event loop was blocked when the time ended, the answer may be there unread: then it waits a little longer.

    Args:
        seconds: How long the block may take, or may take after each `feed`.
        on_timeout: What to call then, once, on the event loop.
        extra: Further seconds if the event loop was blocked.
    """

    def __init__(self, seconds: float, on_timeout: Callable[[], object], extra: float = 0.5) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._on_timeout = on_timeout
        self._extra = extra

    def __enter__(self) -> Self:
        self.feed()
        self._start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()

    def feed(self) -> None:
        """There was progress: count from now. From any thread."""
        self._deadline = self._loop.time() + self._seconds

    def _start(self) -> None:
        self._timer = self._loop.call_at(self._deadline, self._look, self._deadline)

    def _look(self, due: float) -> None:
        now = self._loop.time()
        if now - due > BLOCKED_AFTER:
            self._deadline = max(self._deadline, now + self._extra)
        if now < self._deadline:
            self._start()
        else:
            self._on_timeout()


def whole_seconds(delay: float) -> int:
    """A delay for a backend that counts in seconds: rounded up, so that nothing comes too early."""
    return math.ceil(delay)
