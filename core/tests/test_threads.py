"""Threads that work for an event loop: in order, with every outcome brought back, and never in the way of an exit."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.queues.threads import DaemonThreadPool

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
WAIT = 10.0  # seconds after which something that should happen has not


def penstock_threads() -> set[str]:
    """Names of the threads of this file that are alive."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("t-")}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """Each test's threads have ended when the next one begins."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("t-"):
            thread.join(WAIT)
    assert penstock_threads() == set()


def test_one_thread_makes_the_calls_in_their_order() -> None:
    """First come, first served, and always on the same thread, as a client library may need it."""

    async def main() -> list[tuple[int, int]]:
        threads = DaemonThreadPool("t-order")
        calls = [threads.submit(lambda n=n: (n, threading.get_ident())) for n in range(500)]
        results = list(await asyncio.gather(*calls))
        threads.close()
        return results

    results = asyncio.run(main())

    assert [number for number, _ in results] == list(range(500))
    assert len({ident for _, ident in results} - {threading.get_ident()}) == 1


def test_urgent_calls_leave_every_second_turn_to_the_others() -> None:
    """Each side in its own order: neither a settlement nor an extension waits for ever."""
    began, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        began.set()
        assert go_on.wait(WAIT)

    async def main() -> None:
        threads = DaemonThreadPool("t-urgent")
        calls = [threads.submit(first)]
        while not began.is_set():
            await asyncio.sleep(0.001)
        calls += [threads.submit(order.append, name) for name in "abc"]
        calls += [threads.submit_first(order.append, name) for name in "UVWXY"]
        go_on.set()
        await asyncio.gather(*calls)
        threads.close()

    asyncio.run(main())

    assert order == ["U", "a", "V", "b", "W", "c", "X", "Y"]


def test_several_threads_make_several_calls_at_once() -> None:
    """As many as there are threads: each waits here until all have come."""
    meeting = threading.Barrier(3)

    async def main() -> None:
        threads = DaemonThreadPool("t-several", 3)
        await asyncio.gather(*(threads.submit(meeting.wait, WAIT) for _ in range(3)))
        assert penstock_threads() == {"t-several-0", "t-several-1", "t-several-2"}
        threads.close()

    asyncio.run(main())


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()])
def test_whatever_a_call_raises_is_raised_where_it_is_awaited(error: BaseException) -> None:
    """The very same object, also those that are no `Exception`; and the thread goes on."""

    def fail() -> None:
        raise error

    async def main() -> Any:
        threads = DaemonThreadPool("t-raise")
        call = threads.submit(fail)
        await asyncio.wait([call])
        after = await threads.submit(lambda: "after")
        threads.close()
        return call.exception(), after

    assert asyncio.run(main()) == (error, "after")


def test_a_stop_iteration_arrives_as_an_error() -> None:
    """A future refuses it; if it were lost, its caller would wait for ever."""

    async def main() -> None:
        threads = DaemonThreadPool("t-stop")
        try:
            await threads.submit(next, iter(()))
        finally:
            threads.close()

    with pytest.raises(RuntimeError, match=r"^the call raised StopIteration$") as caught:
        asyncio.run(main())
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_call_sees_the_context_of_its_caller() -> None:
    """Context variables cross to the thread; what the call sets there stays there."""

    def read_and_write() -> str:
        seen = request_id.get()
        request_id.set("changed")
        return seen

    async def main() -> list[str]:
        threads = DaemonThreadPool("t-context")
        request_id.set("first")
        first = threads.submit(read_and_write)
        request_id.set("second")
        second = threads.submit(read_and_write)
        seen = [await first, await second, request_id.get()]
        threads.close()
        return seen

    assert asyncio.run(main()) == ["first", "second", "second"]


def test_a_cancelled_call_is_made_and_its_result_dropped() -> None:
    """A call that runs cannot be stopped; that its caller no longer waits must not break the thread."""
    began, go_on = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert go_on.wait(WAIT)

    async def main() -> str:
        threads = DaemonThreadPool("t-cancel")
        call = threads.submit(work)
        while not began.is_set():
            await asyncio.sleep(0.001)
        call.cancel()
        go_on.set()
        after = await threads.submit(lambda: "after")
        threads.close()
        return after

    assert asyncio.run(main()) == "after"


def test_closing_lets_the_queued_calls_end() -> None:
    """What was submitted is done; what comes later is refused aloud, since it would never be made."""

    async def main() -> list[int]:
        threads = DaemonThreadPool("t-close", 2)
        calls = [threads.submit(lambda n=n: n) for n in range(20)]
        threads.close()
        threads.close()
        with pytest.raises(RuntimeError, match=r"^t-close-0: closed, it takes no more calls$"):
            threads.submit(print)
        return list(await asyncio.gather(*calls))

    assert asyncio.run(main()) == list(range(20))


def test_threads_that_are_never_used_never_start() -> None:
    """A pipeline is made before it is known whether all of the worker can run."""
    threads = DaemonThreadPool("t-unused", 4)

    assert penstock_threads() == set()

    threads.close()

    assert penstock_threads() == set()


def test_an_idle_thread_keeps_nothing_alive() -> None:
    """The last call's arguments and result are a whole batch of messages."""

    class Batch(list[int]):
        """A list that can be watched."""

    async def main() -> None:
        threads = DaemonThreadPool("t-idle")
        argument = Batch([1])
        watched = weakref.ref(argument)
        result = await threads.submit(lambda batch: Batch(batch), argument)
        watched_result = weakref.ref(result)
        del argument, result
        for _ in range(2000):
            gc.collect()
            if watched() is None and watched_result() is None:
                break
            await asyncio.sleep(0.001)
        assert (watched(), watched_result()) == (None, None)
        threads.close()

    asyncio.run(main())


def test_a_thread_ends_when_its_event_loop_is_gone() -> None:
    """The caller has left; the thread must not die with a traceback, nor wait for ever."""
    go_on = threading.Event()

    async def main() -> None:
        DaemonThreadPool("t-gone").submit(go_on.wait, WAIT)

    asyncio.run(main())
    go_on.set()
    # The fixture sees it end; pytest makes an error of an exception in a thread.


STUCK = """
import asyncio, threading
from penstock.queues.threads import DaemonThreadPool

async def main():
    began = threading.Event()
    def forever():
        began.set()
        threading.Event().wait()
    threads = DaemonThreadPool("stuck", 2)
    threads.submit(forever)
    while not began.is_set():
        await asyncio.sleep(0.001)
    threads.close()

asyncio.run(main())
print("ended")
"""


def test_a_call_that_never_returns_does_not_keep_the_process_alive() -> None:
    """A user's function in an endless loop must not keep a worker from ending."""
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
