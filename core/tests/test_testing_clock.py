"""The clock of a harness: waits take no time, what works outside of the loop is waited for, nothing hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from penstock.testing.clock import JumpingLoop, OutOfTime, TimeMode

T = TypeVar("T")


@contextmanager
def jumping_loop(mode: Callable[[], TimeMode] = lambda: "jump") -> Iterator[JumpingLoop]:
    """A loop that gives up after 10 s of real time."""
    loop = JumpingLoop(mode)
    loop.clock.deadline = time.monotonic() + 10
    try:
        yield loop
    finally:
        loop.clock.closing = True
        loop.clock.deadline = time.monotonic() + 10
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait_for(_gather(tasks), None))
        loop.close()


async def _gather(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def run(main: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    """What `main` returns, and how long it took by the loop's clock."""
    with jumping_loop() as loop:
        return loop.run_until_complete(main()), loop.clock.now


def test_a_wait_of_a_day_takes_no_time() -> None:
    """The clock says that a day has passed; the real one, that nothing has."""
    began = time.monotonic()

    _, elapsed = run(lambda: asyncio.sleep(86_400))

    assert elapsed == pytest.approx(86_400)
    assert time.monotonic() - began < 5


def test_waits_end_in_the_order_of_their_length() -> None:
    """However they were begun, and each at its own time."""
    ended: list[tuple[float, float]] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append((seconds, asyncio.get_running_loop().time()))

    async def main() -> None:
        await asyncio.gather(wait(30), wait(0.5), wait(3600), wait(1))

    run(main)

    assert [seconds for seconds, _ in ended] == [0.5, 1, 30, 3600]
    assert all(at == pytest.approx(seconds) for seconds, at in ended)


def test_a_timeout_strikes_what_waits_longer_and_spares_what_is_ready() -> None:
    """Time moves only when nothing is ready, so no amount of work makes a timeout strike."""

    async def much_work() -> str:
        for _ in range(10_000):
            await asyncio.sleep(0)
        return "done"

    async def main() -> list[str]:
        results = [await asyncio.wait_for(much_work(), 0.001)]
        try:
            await asyncio.wait_for(asyncio.sleep(31), 30)
        except TimeoutError:
            results.append("too late")
        return results

    results, elapsed = run(main)

    assert results == ["done", "too late"]
    assert elapsed == pytest.approx(30)


def test_a_call_in_an_executor_is_waited_for_in_real_time() -> None:
    """`asyncio.to_thread` of 50 ms ends before a timeout of 20 s, not after it."""

    async def main() -> str:
        await asyncio.wait_for(asyncio.to_thread(time.sleep, 0.05), 20)
        return "done"

    result, elapsed = run(main)

    assert result == "done"
    assert 0.03 < elapsed < 20


def test_a_socket_that_is_watched_is_waited_for_in_real_time() -> None:
    """An answer that comes 50 ms later is there before a timeout of 20 s."""

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            threading.Timer(0.05, there.send, [b"answer"]).start()
            return await asyncio.wait_for(loop.sock_recv(here, 100), 20)

    answer, elapsed = run(main)

    assert answer == b"answer"
    assert elapsed < 20


def test_while_its_owner_says_so_time_stands_still() -> None:
    """A timer of a microsecond waits for a thread that takes 50 ms, as the owner knows of the thread."""
    busy = threading.Event()
    woken = []

    with jumping_loop(lambda: "stop" if busy.is_set() else "jump") as loop:

        async def main() -> None:
            busy.set()
            answer = loop.create_future()

            def work() -> None:
                time.sleep(0.05)
                loop.call_soon_threadsafe(finish)

            def finish() -> None:
                busy.clear()
                woken.append(("thread", loop.time()))
                answer.set_result(None)

            loop.call_later(1e-6, lambda: woken.append(("timer", loop.time())))
            threading.Thread(target=work).start()
            await answer
            await asyncio.sleep(1)

        loop.run_until_complete(main())

    assert [who for who, _ in woken] == ["thread", "timer"]
    assert woken[0][1] == 0.0


@pytest.mark.parametrize("mode", ["stop", "real", "jump"])
def test_what_never_ends_is_given_up_at_the_deadline(mode: TimeMode) -> None:
    """A future that is never set, whether time stands, passes or jumps."""
    began = time.monotonic()
    with jumping_loop(lambda: mode) as loop:
        loop.clock.deadline = time.monotonic() + 0.1

        async def main() -> None:
            await loop.create_future()

        with pytest.raises(OutOfTime):
            loop.run_until_complete(main())

    assert 0.1 <= time.monotonic() - began < 5


def test_a_loop_that_is_never_idle_is_given_up_at_the_deadline() -> None:
    """As is one that goes on for ever in jumps."""
    for step in (0.0, 1.0):
        with jumping_loop() as loop:
            loop.clock.deadline = time.monotonic() + 0.05

            async def spin(step: float = step) -> None:
                while True:
                    await asyncio.sleep(step)

            with pytest.raises(OutOfTime):
                loop.run_until_complete(spin())


def test_while_it_closes_the_loop_waits_for_nothing_outside() -> None:
    """What is stuck elsewhere does not keep it from clearing up: a shutdown timeout of 30 s is over at once."""
    with jumping_loop(lambda: "stop") as loop:
        loop.clock.closing = True
        loop.run_until_complete(asyncio.wait_for(asyncio.sleep(30), 60))

        assert loop.clock.now == pytest.approx(30)
