"""Ends a wait from another thread or event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class WakeUp:
    """Wakes one coroutine. Made on its event loop; `wake` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Wake the waiter, or let its next wait return at once."""
        with suppress(RuntimeError):  # its loop is closed, so the waiter is gone
            self._loop.call_soon_threadsafe(self._event.set)

    def reset(self) -> None:
        """Forget earlier calls of `wake`. Call it before the look that precedes a wait."""
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Return when woken, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
