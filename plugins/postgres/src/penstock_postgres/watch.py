"""Time that runs out for an answer, but not while we stand still ourselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOOD_STILL = 0.25  # seconds by which a timer is late if the event loop was blocked


@contextmanager
def watch(seconds: float, again: float, cut: Callable[[], None]) -> Iterator[None]:
    """Call `cut` if the block takes longer than `seconds`.

    If the event loop was blocked when they ended, the answer may be there, unread: then there are `again` seconds more.
    """
    # Cheaper than a task and a cancellation, after which psycopg would talk to a server that does not answer.
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def start(after: float) -> None:
        nonlocal timer
        timer = loop.call_later(after, expire, loop.time() + after)

    def expire(due: float) -> None:
        if loop.time() - due > STOOD_STILL:
            start(again)
        else:
            cut()

    start(seconds)
    try:
        yield
    finally:
        timer.cancel()
