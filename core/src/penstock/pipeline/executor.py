"""Where calls of the function happen. `thread_executor` and `task_executor` are the two kinds.

Both take messages in the order they were submitted and return finished batches as soon as there are any; a slow call
does not hold up what is finished.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from penstock.message import QueueMessage
from penstock.pipeline.batch import Batch
from penstock.pipeline.batch_fill import BatchFill
from penstock.pipeline.latest import Latest
from penstock.pipeline.state import EngineState
from penstock.pipeline.steps import Steps
from penstock.queues import forks

OnBatchDone = Callable[[Batch], None]


class Executor(ABC):
    """Calls the function for messages, `concurrency` calls at a time.

    Args:
        steps: The engine's steps.
        state: The engine's state; an error that is neither the function's nor the codec's stops the engine.
        concurrency: How many calls of the function may run at once.
        batch_size: How many messages one call, or one thread, takes at most.
        on_batch_done: Gets each finished batch, encoded, on the event loop's thread.
        batch_wait: Seconds that messages may wait, from the first one on, until there are `batch_size`.
        latest: Where messages wait, if only the newest of each key is wanted.

    Attributes:
        on_threads: Whether the function runs on threads, not on the event loop.
        taken: How many messages the function was given so far.
        returned: Of how many of them the calls have ended.
        unstarted: Messages that were submitted and not started when the engine stopped.
    """

    on_threads: ClassVar[bool] = False

    def __init__(
        self,
        steps: Steps,
        state: EngineState,
        concurrency: int,
        batch_size: int,
        on_batch_done: OnBatchDone,
        batch_wait: float = 0.0,
        latest: Latest | None = None,
    ) -> None:
        self._steps = steps
        self._state = state
        self._concurrency = concurrency
        self._batch_size = batch_size
        self._on_batch_done = on_batch_done
        self._waiting: deque[QueueMessage] = deque() if latest is None else latest
        self._fill = BatchFill(batch_size, batch_wait) if batch_wait else None
        self._active = 0
        self._stopped = False
        self._closed = False
        self._generation = forks.generation
        self._idle = asyncio.Event()
        self._idle.set()
        self.taken = 0
        self.returned = 0
        self.unstarted: list[QueueMessage] = []

    @property
    def waiting(self) -> int:
        """How many messages are submitted and not started."""
        return len(self._waiting)

    def submit(self, messages: Sequence[QueueMessage]) -> None:
        """Queue messages for the function."""
        if self._stopped:
            self.unstarted += messages
            return
        before = len(self._waiting)
        self._waiting.extend(messages)
        if self._fill is not None:
            self._fill.arrived(len(self._waiting) - before)
        self._start()

    def _ready(self) -> bool:
        """Whether a call may begin. If the messages that wait are to become more, it is looked at again in time."""
        if self._fill is None or not self._waiting:
            return bool(self._waiting)
        # A drain does not wait for messages that will not come.
        left = 0.0 if self._state.draining else self._fill.left(len(self._waiting))
        if left <= 0:
            return True
        self._fill.call_later(left, self._start)
        return False

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped = True
        self.unstarted += self._waiting
        self._waiting.clear()
        if self._fill is not None:
            self._fill.cancel()

    async def finish(self) -> None:
        """Start nothing more, and wait until no call runs."""
        self.stop()
        await self._idle.wait()

    async def wait_until_idle(self) -> None:
        """Wait until no call runs; then none waits to run either."""
        while self._active:
            await self._idle.wait()

    def close(self) -> None:
        """Release threads and tasks, running or not. What they still return is not delivered."""
        self._closed = True

    @abstractmethod
    def _start(self) -> None:
        """Start calls for the messages that wait."""

    def _return(self, batch: Batch) -> None:
        """Pass a finished batch on."""
        self.returned += len(batch.messages) + len(batch.failures)
        self._on_batch_done(batch)

    def _enter(self) -> None:
        self._active += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._active -= 1
        if not self._active:
            self._idle.set()

    def _take(self, count: int) -> list[QueueMessage]:
        waiting = self._waiting
        if count >= len(waiting):
            taken = list(waiting)
            waiting.clear()
        else:
            taken = [waiting.popleft() for _ in range(count)]
        self.taken += len(taken)
        if self._fill is not None:
            self._fill.took(len(taken))
        return taken
