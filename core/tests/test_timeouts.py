"""Limits for calls that have none: the caller goes on, whatever the call does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from penstock.timeouts import Watchdog, run_with_timeout, whole_seconds


def test_a_call_in_time_returns_its_result_or_raises_its_error() -> None:
    """As if it had been called directly."""

    def fail() -> None:
        raise KeyError("its own")

    assert run_with_timeout(lambda: "result", 30.0) == "result"
    assert run_with_timeout(lambda: None, 30.0) is None
    with pytest.raises(KeyError, match="its own"):
        run_with_timeout(fail, 30.0)


def test_a_call_that_takes_too_long_holds_up_nothing() -> None:
    """It goes on, on a thread that does not keep the process alive."""
    end = threading.Event()
    threads: list[threading.Thread] = []

    def hang() -> None:
        threads.append(threading.current_thread())
        end.wait(30)

    with pytest.raises(TimeoutError, match=r"did not return within 0\.05 s"):
        run_with_timeout(hang, 0.05)
    assert threads[0].daemon
    end.set()
    threads[0].join(30)
    assert not threads[0].is_alive()


def watched(block: Callable[[Watchdog], Any], seconds: float, extra: float = 0.5) -> int:
    """How often the timeout of a block was called."""
    calls: list[None] = []

    async def main() -> None:
        with Watchdog(seconds, lambda: calls.append(None), extra) as watchdog:
            await block(watchdog)

    asyncio.run(main())
    return len(calls)


def test_a_block_without_progress_is_cut_once() -> None:
    """However long it goes on."""
    assert watched(lambda _dog: asyncio.sleep(0.3), seconds=0.05) == 1


def test_a_block_that_ends_in_time_is_not_cut() -> None:
    """Nor afterwards."""

    async def block(_dog: Watchdog) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        with Watchdog(0.05, lambda: pytest.fail("cut after its end")):
            await block(None)  # type: ignore[arg-type]
        await asyncio.sleep(0.1)

    asyncio.run(main())
    assert watched(block, seconds=30.0) == 0


def test_progress_starts_the_time_anew() -> None:
    """Also when it is reported by another thread."""

    async def block(dog: Watchdog) -> None:
        for _ in range(8):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(dog.feed)

    assert watched(block, seconds=0.6) == 0


def test_an_event_loop_that_was_blocked_gets_a_little_more() -> None:
    """The answer may be there, unread; if it is not, the time is up after that."""

    async def block(_dog: Watchdog) -> None:
        time.sleep(0.5)
        await asyncio.sleep(0.05)

    async def longer(_dog: Watchdog) -> None:
        time.sleep(0.5)
        await asyncio.sleep(0.3)

    assert watched(block, seconds=0.01, extra=30.0) == 0
    assert watched(longer, seconds=0.01, extra=0.1) == 1


def test_whole_seconds_are_never_too_early() -> None:
    """Nor more than a second late."""
    assert [whole_seconds(delay) for delay in (0.0, 0.001, 1.0, 1.5)] == [0, 1, 1, 2]
