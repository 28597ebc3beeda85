"""Time limits: a connector that hangs fails a test with a sentence, and never hangs the suite."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from penstock_kit.broken import Broken

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
    """Run a coroutine on an event loop and a thread of its own, for at most so many seconds.

    The thread is what saves the suite from a connector that blocks the event loop: no timeout of asyncio would fire.

    Raises:
        Broken: it did not end in time. The text shows where it is.
    """
    raised: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  (it is the test's own, and is raised again below)
            raised.append(error)

    thread = threading.Thread(target=work, name="penstock-conformance", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        where = "".join(traceback.format_stack(frame)[-6:]) if frame is not None else "    (it has just ended)\n"
        raise Broken(
            f"the connector hangs: the test had not ended after {seconds:g} s, and no call of the contract may wait so "
            f"long. The event loop's thread is here:\n{where}"
            "    look at: a blocking call in a coroutine of an asynchronous connector, or a lock that nobody releases"
        )
    if raised:
        raise raised[0]


@asynccontextmanager
async def within(seconds: float, promise: str, look: str) -> AsyncIterator[None]:
    """Bound a step of a test.

    Raises:
        Broken: the step took longer; with `promise` and `look` as in `must`.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        # A TimeoutError of the connector's own is its own fault, and says so by itself.
        if not limit.expired():
            raise
        raise Broken(f"{promise}\n    look at: {look}") from None


class Starts(Protocol):
    """Starts something beside a block; what `beside` gives."""

    def __call__(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """The task, which the block awaits."""


@asynccontextmanager
async def beside() -> AsyncIterator[Starts]:
    """Start things beside the block, which awaits them. If it fails, they are cancelled, their errors heard."""
    tasks: list[asyncio.Task[Any]] = []

    def start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        tasks.append(task)
        return task

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def aside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """The same for one thing that is started with the block."""
    async with beside() as start:
        yield start(work)


async def until(true: Callable[[], bool], seconds: float) -> bool:
    """Look until something is true; False if it was not within so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
