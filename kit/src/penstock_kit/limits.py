"""Time limits: a connector that hangs fails a test, and does not hang the suite."""

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
    """Run a coroutine in its own event loop on its own thread, for at most so many seconds.

    The thread protects the suite from a connector that blocks the event loop, where no timeout of asyncio fires.

    Raises:
        Broken: it did not end in time. The text shows where it hangs.
    """
    raised: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  (raised again below)
            raised.append(error)

    thread = threading.Thread(target=work, name="penstock-conformance", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        where = "".join(traceback.format_stack(frame)[-6:]) if frame is not None else "    (it has just ended)\n"
        raise Broken(
            f"the connector hangs: the test had not ended after {seconds:g} s, and a call of the contract never takes "
            f"so long. The event loop's thread is here:\n{where}"
            "    look at: a blocking call in a coroutine of an asynchronous connector, or a lock that is never released"
        )
    if raised:
        raise raised[0]


@asynccontextmanager
async def within(seconds: float, promise: str, look: str) -> AsyncIterator[None]:
    """Limit the time of a step of a test.

    Raises:
        Broken: the step took longer; with `promise` and `look` as in `must`.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        # The connector's own TimeoutError is reported as it is.
        if not limit.expired():
            raise
        raise Broken(f"{promise}\n    look at: {look}") from None


class Starts(Protocol):
    """Starts something that runs during a block; the value of `beside`."""

    def __call__(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start it. The block awaits the task."""


@asynccontextmanager
async def beside() -> AsyncIterator[Starts]:
    """Run things during a block, which awaits them. At its end, the rest is cancelled."""
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
    """Run one thing during a block, which awaits it."""
    async with beside() as start:
        yield start(work)


async def until(true: Callable[[], bool], seconds: float) -> bool:
    """Poll until something is true; False if it was not within so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
