"""For connectors: calls that exclude each other. Urgent ones go first, and waiting calls of one kind are joined.

self._turns = Turns()
self._deletions = Joined(self._turns, self._delete, most=lambda: 500)

async def on_success(self, messages):
    return await self._deletions(messages, len(messages))

async def extend(self, messages):
    async with self._turns.first():  # waits for the call that runs, and at most one more
        ...
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, Self, TypeVar

R = TypeVar("R")
A = TypeVar("A")


class Lock(Protocol):
    """Lets one call in at a time: `Turns`, or an `asyncio.Lock`."""

    async def __aenter__(self) -> Any:
        """Acquire it."""

    async def __aexit__(self, *_error: object) -> Any:
        """Release it."""


class Turns:
    """A fair lock. Only `first` goes before waiting calls, but not twice in a row."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._was_urgent = False

    def locked(self) -> bool:
        """Whether it is held."""
        return self._taken

    async def __aenter__(self) -> Self:
        await self._acquire(self._waiting)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._pass_on()

    @asynccontextmanager
    async def first(self) -> AsyncIterator[None]:
        """Hold the lock before all waiting calls; after an urgent one, one of these comes first."""
        await self._acquire(self._urgent)
        try:
            yield
        finally:
            self._pass_on()

    async def _acquire(self, queue: deque[asyncio.Future[None]]) -> None:
        if not self._taken:
            self._taken, self._was_urgent = True, queue is self._urgent
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._pass_on()  # the turn came together with the cancellation
            raise

    def _pass_on(self) -> None:
        # Alternately, so that a stream of urgent calls does not starve the others.
        for queue in (self._waiting, self._urgent) if self._was_urgent else (self._urgent, self._waiting):
            while queue:
                turn = queue.popleft()
                if not turn.done():  # else its caller was cancelled
                    self._was_urgent = queue is self._urgent
                    turn.set_result(None)  # still held, so that no other caller can take it
                    return
        self._taken = False


class Call(Generic[R, A]):
    """One call that waits for its answer.

    Attributes:
        request: What was asked for.
        weight: Its share of a group's limit.
        given: Its answer, once it has one.
    """

    __slots__ = ("_future", "given", "request", "weight")

    def __init__(self, request: R, weight: int) -> None:
        self.request = request
        self.weight = weight
        self.given: A | None = None
        self._future: asyncio.Future[A] = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        """Whether it was answered, or its caller was cancelled."""
        return self._future.done()

    def answer(self, answer: A) -> None:
        """Give the caller its answer."""
        self.given = answer
        if not self._future.done():
            self._future.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Raise this from the call."""
        if not self._future.done():
            self._future.set_exception(error)

    def cancel(self) -> None:
        """End it without an answer."""
        self._future.cancel()

    async def answered(self) -> A:
        """Wait for the answer."""
        return await self._future


class Joined(Generic[R, A]):
    """Calls of one kind; those that wait at the same time are made together.

    A cancelled caller does not cancel the group.

    Args:
        lock: Held while a group of calls is made.
        make: Makes a group of calls, in order: it answers each. If it raises, those without an answer raise the same.
        most: The weight limit of a group; a heavier call is made by itself.
    """

    def __init__(
        self, lock: Lock, make: Callable[[Sequence[Call[R, A]]], Awaitable[None]], most: Callable[[], int]
    ) -> None:
        self._lock = lock
        self._make = make
        self._most = most
        self._waiting: deque[Call[R, A]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, request: R, weight: int = 1) -> A:
        """Make a call, perhaps together with others, and wait for its own answer."""
        call: Call[R, A] = Call(request, weight)
        self._waiting.append(call)
        if self._task is None:
            # A separate task, because a group has several callers.
            self._task = asyncio.create_task(self._work())
        return await call.answered()

    async def _work(self) -> None:
        try:
            while self._waiting:
                async with self._lock:
                    await self._make_group(self._take())
        finally:
            self._task = None
            self._drop()  # none wait, unless this task was cancelled

    def _drop(self) -> None:
        while self._waiting:
            self._waiting.popleft().cancel()

    def _take(self) -> list[Call[R, A]]:
        group: list[Call[R, A]] = []
        room = self._most()
        while self._waiting and (not group or self._waiting[0].weight <= room):
            call = self._waiting.popleft()
            if not call.over:
                group.append(call)
                room -= call.weight
        return group

    async def _make_group(self, group: Sequence[Call[R, A]]) -> None:
        if not group:
            return
        try:
            await self._make(group)
        except Exception as error:  # noqa: BLE001  (each caller gets it)
            for call in group:
                call.fail(error)
        finally:
            for call in group:
                call.cancel()  # only those that have no answer: this task was cancelled

    async def close(self, timeout: float) -> bool:
        """Drop the calls that wait, and wait for the ones that are being made.

        Args:
            timeout: Seconds.

        Returns:
            Whether no call is running any more.
        """
        self._drop()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout)
        return self._task is None
