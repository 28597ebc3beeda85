"""Whether one engine runs, drains or stops, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


class EngineState:
    """The state of one engine, which its parts share.

    Attributes:
        draining: The engine stops once its input queue is empty.
        stopping: The engine starts nothing more.
        error: Why the engine stops; None if it runs, or was asked to stop.
    """

    def __init__(self) -> None:
        self.draining = False
        self.stopping = False
        self.error: BaseException | None = None
        self._stop = asyncio.Event()
        self._on_stop: list[Callable[[], None]] = []

    def on_stop(self, call: Callable[[], None]) -> None:
        """Call this when the engine stops, before `stop` returns. It must not raise."""
        self._on_stop.append(call)

    def stop(self) -> None:
        """Stop the engine. A second call does nothing."""
        if self.stopping:
            return
        self.stopping = True
        self._stop.set()
        for call in self._on_stop:
            call()

    def fail(self, error: BaseException) -> None:
        """Stop the engine because of an error; the first error counts."""
        if self.error is None:
            self.error = error
        self.stop()

    async def wait_for_stop(self) -> None:
        """Wait until the engine stops."""
        await self._stop.wait()

    async def pause(self, seconds: float) -> None:
        """Wait, but not past a stop."""
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


@dataclass(frozen=True, slots=True)
class Ending:
    """What an engine has left in its input queue.

    Attributes:
        unsettled: Messages that it received and did not settle; they are redelivered.
        waiting: How many messages wait in the queue beside them; None if unknown. Only a drain asks for it.
        clean: Whether the queue closed cleanly; otherwise what was settled last may come again.
    """

    unsettled: int
    waiting: int | None
    clean: bool
