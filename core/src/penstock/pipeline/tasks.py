"""The tasks of one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from penstock.errors import PenstockError
from penstock.pipeline.state import EngineState

T = TypeVar("T")


class WatchedTasks:
    """Tasks that stop the engine at once when one of them fails.

    Args:
        app: The engine's name.
        state: The engine's state.
    """

    def __init__(self, app: str, state: EngineState) -> None:
        self._app = app
        self._state = state
        self._running: set[asyncio.Task[Any]] = set()
        self._cancelled = False

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine as a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def finish(self) -> None:
        """Wait until no task runs, those included that others start meanwhile."""
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self, timeout: float | None = None) -> None:
        """Cancel what still runs, and wait until it has ended, `timeout` seconds at most."""
        self._cancelled = True
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=timeout)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            if not self._cancelled:
                self._state.fail(
                    PenstockError(f"engine {self._app!r}: one of its tasks was cancelled, and not by Penstock")
                )
        elif (error := task.exception()) is not None:
            self._state.fail(error)
