"""For connectors to backends that cannot wake a consumer: look again, less and less often while nothing comes.

self._poller = Poller(Backoff(initial=0.005, maximum=options.poll_interval))

async def consume(self, max_messages, timeout):
    return await self._poller.poll(lambda: self._receive(max_messages), timeout)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import TypeVar

from penstock.backoff import Backoff

T = TypeVar("T")


class _Pauses:
    """How long to wait between two looks. It remembers earlier calls, so that short calls do not look more often."""

    def __init__(self, pause: Backoff) -> None:
        self._pause = pause
        self._empty = 0  # looks that found nothing, one after the other

    def _after(self, found: bool) -> float:
        self._empty = 0 if found else self._empty + 1
        return 0.0 if found else self._pause.delay(self._empty)


class Poller(_Pauses):
    """Polls for a `Consumer`.

    Args:
        pause: Seconds between two looks at an empty queue: the first, and how they grow.
    """

    def __init__(self, pause: Backoff) -> None:
        super().__init__(pause)
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def poll(self, fetch: Callable[[], Awaitable[Sequence[T]]], timeout: float) -> Sequence[T]:
        """Fetch until there is something, or nothing for `timeout` seconds. It fetches at least once."""
        self._loop = asyncio.get_running_loop()
        deadline = monotonic() + timeout
        while True:
            self._event.clear()
            found = await fetch()
            pause, left = self._after(bool(found)), deadline - monotonic()
            if found or left <= 0:
                return found
            with suppress(TimeoutError):
                async with asyncio.timeout(min(pause, left)):
                    await self._event.wait()

    def wake(self) -> None:
        """End the pause now, from any thread: something may have come."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and nothing waits there
                self._loop.call_soon_threadsafe(self._event.set)


class BlockingPoller(_Pauses):
    """Polls for a `BlockingConsumer`; see `Poller`."""

    def __init__(self, pause: Backoff) -> None:
        super().__init__(pause)
        self._event = threading.Event()

    def poll(self, fetch: Callable[[], Sequence[T]], timeout: float) -> Sequence[T]:
        """See `Poller.poll`."""
        deadline = monotonic() + timeout
        while True:
            self._event.clear()
            found = fetch()
            pause, left = self._after(bool(found)), deadline - monotonic()
            if found or left <= 0:
                return found
            self._event.wait(min(pause, left))

    def wake(self) -> None:
        """See `Poller.wake`."""
        self._event.set()
