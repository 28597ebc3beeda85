"""One or more daemon threads that work for an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from penstock.queues import forks

T = TypeVar("T")

_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", contextvars.Context, Callable[..., Any], tuple[Any, ...]]


class DaemonThreadPool:
    """Runs blocking calls off the event loop, first come, first served, unless one is urgent.

    The threads are daemons, unlike `ThreadPoolExecutor`'s: a call that never returns (a user's function in an endless
    loop) must not keep a worker from ending. They start with the first call, so what is made and never run leaves
    nothing behind.

    Args:
        name: Shown in thread dumps.
        count: How many calls may run at once. With 1, all calls run on the same thread.

    Attributes:
        closed: Whether `close` was called.
    """

    def __init__(self, name: str, count: int = 1) -> None:
        self._jobs: deque[_Job] = deque()
        self._urgent: deque[_Job] = deque()
        self._was_urgent = False
        self._ready: SimpleQueue[bool] = SimpleQueue()  # True for each job; False for each thread, which ends then
        self._threads = [
            threading.Thread(target=self._work, name=name if count == 1 else f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        self._started = False
        self._generation = forks.generation
        self.closed = False

    def submit(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Queue a call from the event loop's thread; the future holds its result or exception.

        Raises:
            RuntimeError: the threads were closed, so the call would never be made.
        """
        return self._submit(self._jobs.append, function, arguments)

    def submit_first(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Queue a call before those that wait; after two of these in a row, one that waits comes first."""
        return self._submit(self._urgent.append, function, arguments)

    def _submit(
        self, queue_up: Callable[[_Job], None], function: Callable[..., T], arguments: tuple[Any, ...]
    ) -> asyncio.Future[T]:
        if self.closed:
            raise RuntimeError(f"{self._threads[0].name}: closed, it takes no more calls")
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        queue_up((loop, future, contextvars.copy_context(), function, arguments))
        self._ready.put(True)
        return future

    def close(self) -> None:
        """Let the threads end after the calls already queued. Does not wait; a second time does nothing."""
        if self.closed:
            return
        self.closed = True
        for _ in self._threads:
            self._ready.put(False)

    def _next(self) -> _Job:
        was_urgent = self._was_urgent
        for jobs in (self._jobs, self._urgent) if was_urgent else (self._urgent, self._jobs):
            with suppress(IndexError):
                job = jobs.popleft()
                self._was_urgent = jobs is self._urgent
                return job
        raise AssertionError  # there is one for each True

    def _work(self) -> None:
        while self._ready.get():
            job = self._next()
            loop, future, context, function, arguments = job
            result, error = None, None
            try:
                result = context.run(function, *arguments)
            except BaseException as raised:  # noqa: BLE001  (it is the caller's, and the caller gets it)
                error = raised
            if forks.generation != self._generation:
                forks.end(error)
            try:
                loop.call_soon_threadsafe(_finish, future, result, error)
            except RuntimeError:
                return  # the loop is closed: nothing waits for the result
            # Held until the next job, these would keep a whole batch alive while the thread is idle.
            del job, future, context, function, arguments, result, error


def _finish(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future refuses it: it would end the coroutine that awaits as if that had returned.
        refused = RuntimeError("the call raised StopIteration")
        refused.__cause__ = error
        future.set_exception(refused)
    else:
        future.set_exception(error)
