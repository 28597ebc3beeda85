"""Where the function is called: on threads or in tasks, so many at a time, and a slow call holds up nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, for_a_while, running, until
from core.tests.scripted import Sink, Source

from penstock.dead_letters import read
from penstock.pipeline.thread_executor import ThreadExecutor


class Gate:
    """Holds the calls for some messages, in either form of function, and counts all of them.

    Attributes:
        begun, ended: Messages in the order in which their calls began and ended.
        most: How many calls ran at once, at most.
    """

    def __init__(self, holds: Callable[[int], bool], asynchronous: bool = False) -> None:
        self._holds = holds
        self._open = threading.Event()
        self._asynchronous = asynchronous
        self._lock = threading.Lock()
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.most = 0

    @property
    def function(self) -> Callable[[int], Any]:
        """The function for the engine."""

        def sync(number: int) -> Any:
            self._begin(number)
            if self._holds(number):
                assert self._open.wait(30)
            return self._end(number)

        async def asynchronous(number: int) -> Any:
            self._begin(number)
            while self._holds(number) and not self._open.is_set():
                await asyncio.sleep(0.002)
            return self._end(number)

        return asynchronous if self._asynchronous else sync

    def _begin(self, number: int) -> None:
        with self._lock:
            self.begun.append(number)
            self.most = max(self.most, self.running)

    def _end(self, number: int) -> tuple[str, int]:
        with self._lock:
            self.ended.append(number)
        return "out", number

    @property
    def running(self) -> int:
        """Calls under way."""
        return len(self.begun) - len(self.ended)

    def open(self) -> None:
        """Let all go."""
        self._open.set()


FORMS = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@FORMS
def test_finished_messages_are_delivered_while_a_slow_one_of_their_batch_runs(
    stand: EngineFixture, asynchronous: bool
) -> None:
    """Sent and settled, although the call after them never seems to end."""
    gate = Gate(lambda number: number == 5, asynchronous)
    source, sink = Source([b"%d" % n for n in range(10)]), Sink()

    async def main() -> None:
        async with running(stand.engine(gate.function, source=source.queue(), targets=[sink.queue()])):
            await until(lambda: sorted(source.settled()) == [b"0", b"1", b"2", b"3", b"4"])
            assert gate.begun == [0, 1, 2, 3, 4, 5]
            gate.open()
            await until(lambda: len(source.settled()) == 10)

    asyncio.run(main())

    assert sink.bodies == [b"%d" % n for n in range(10)]
    assert gate.ended == list(range(10))


def test_a_batch_does_not_overtake_the_one_before_it_when_the_event_loop_stood_still(stand: EngineFixture) -> None:
    """The thread has ended the first and is slow with the second when the loop, which stood still, looks at them."""
    first, last = threading.Event(), threading.Event()
    source, sink = Source([b"%d" % n for n in range(4)]), Sink()

    def function(number: int) -> Any:
        if number in (0, 3):
            assert (first if number == 0 else last).wait(30)
        return "out", number

    async def main() -> None:
        app = stand.engine(function, source=source.queue(), targets=[sink.queue()], batch_size=2)
        async with running(app):
            await until(lambda: app.pipeline is not None)
            executor = app.pipeline.executor
            assert isinstance(executor, ThreadExecutor)
            await until(lambda: len(executor._batches) == 2)
            first.set()
            time.sleep(0.3)  # the event loop stands still, as on a machine that has no time for it
            await until(lambda: len(sink.bodies) == 3)
            last.set()
            await until(lambda: len(source.settled()) == 4)

    asyncio.run(main())

    assert sink.bodies == [b"%d" % n for n in range(4)]


@FORMS
def test_finished_failures_are_dead_lettered_while_a_slow_one_runs(stand: EngineFixture, asynchronous: bool) -> None:
    """A failure before a slow call is not held up either, nor is a body that is not a message."""
    source, dead = Source([b"0", b"nonsense", b"1", b"2"]), Sink()
    gate = Gate(lambda number: number == 2, asynchronous)
    call = gate.function

    def sync(number: int) -> Any:
        if number == 1:
            raise LookupError("no")
        return call(number)

    async def also_async(number: int) -> Any:
        return await sync(number)

    async def main() -> None:
        engine = stand.engine(
            also_async if asynchronous else sync,
            source=source.queue(),
            targets=[dead.queue("dead")],
            dead_letters=True,
            retry={"max_attempts": 1},
        )
        async with running(engine):
            await until(lambda: sorted(source.settled()) == [b"0", b"1", b"nonsense"])
            gate.open()
            await until(lambda: len(source.settled()) == 4)

    asyncio.run(main())

    assert sorted(dead.bodies) == [b"1", b"nonsense"]


@FORMS
def test_so_many_calls_run_at_a_time(stand: EngineFixture, asynchronous: bool) -> None:
    """`concurrency` calls, no more and no fewer while there is work."""
    gate = Gate(lambda _: True, asynchronous)
    source = Source([b"%d" % n for n in range(20)])

    async def main() -> None:
        async with running(stand.engine(gate.function, source=source.queue(), concurrency=4)):
            await until(lambda: gate.running == 4)
            await for_a_while(0.2, lambda: gate.running != 4)
            gate.open()
            await until(lambda: len(source.settled()) == 20)

    asyncio.run(main())

    assert gate.most == 4
    assert sorted(gate.ended) == list(range(20))


@FORMS
def test_a_slow_call_leaves_the_rest_of_its_share_to_the_other_calls(stand: EngineFixture, asynchronous: bool) -> None:
    """With a concurrency of two, one call that hangs costs one of them, not the messages behind it."""
    gate = Gate(lambda number: number == 0, asynchronous)
    count = 40
    source = Source([b"%d" % n for n in range(count)])

    async def main() -> None:
        async with running(stand.engine(gate.function, source=source.queue(), concurrency=2)):
            await until(lambda: len(source.settled()) == count - 1)
            gate.open()
            await until(lambda: len(source.settled()) == count)

    asyncio.run(main())

    assert sorted(gate.begun) == list(range(count))


@FORMS
def test_every_call_may_be_slow_again_and_again(stand: EngineFixture, asynchronous: bool) -> None:
    """Nothing is called twice, nothing is forgotten, whatever is slow when."""
    seen: list[int] = []
    lock = threading.Lock()

    def sync(number: int) -> Any:
        with lock:
            seen.append(number)
        if number % 13 == 0:
            time.sleep(0.12)
        elif number % 7 == 0:
            time.sleep(0.03)
        return "out", number

    async def also_async(number: int) -> Any:
        seen.append(number)
        if number % 13 == 0:
            await asyncio.sleep(0.12)
        return "out", number

    count = 150
    source, sink = Source([b"%d" % n for n in range(count)]), Sink()

    drain(
        stand.engine(also_async if asynchronous else sync, source=source.queue(), targets=[sink.queue()], concurrency=3)
    )

    assert sorted(seen) == list(range(count))
    assert sorted(sink.bodies) == sorted(source.settled()) == sorted(b"%d" % n for n in range(count))


def test_a_concurrency_of_one_keeps_the_order_whatever_is_slow(stand: EngineFixture) -> None:
    """concurrency: 1 is one message after the other, also when batches are cut."""
    seen: list[int] = []

    def function(number: int) -> Any:
        seen.append(number)
        if number % 10 == 0:
            time.sleep(0.12 if number % 20 else 0.06)
        return "out", number

    stand.numbers(60)

    drain(stand.engine(function))

    assert seen == list(range(60))
    assert stand.bodies() == [b"%d" % n for n in range(60)]


@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
def test_a_batch_that_waits_at_the_thread_comes_after_the_rest_of_the_one_before(
    stand: EngineFixture, batch: bool
) -> None:
    """Of a backlog the next batch waits at the thread. A call that is slow cuts its own batch, and recalls that one."""
    seen: list[int] = []

    def one(number: int) -> None:
        seen.append(number)
        if number in (0, 55, 56, 90):
            time.sleep(0.12)

    def several(numbers: list[int]) -> None:
        for number in numbers:
            one(number)

    source = Source([b"%d" % n for n in range(400)])

    drain(stand.engine(several if batch else one, [], source=source.queue(batch=batch), batch_size=10))

    assert seen == list(range(400))
    assert sorted(map(int, source.settled())) == list(range(400))


def test_no_call_follows_one_that_exits_the_process(stand: EngineFixture) -> None:
    """Neither of its own batch, nor of the one that waits at the thread."""
    seen: list[int] = []

    def function(number: int) -> None:
        seen.append(number)
        if number == 235:
            raise SystemExit(3)

    source = Source([b"%d" % n for n in range(400)])

    with pytest.raises(SystemExit):
        drain(stand.engine(function, [], source=source.queue(), batch_size=10))

    assert seen == list(range(236))
    assert b"236" not in source.settled()


def test_one_thread_serves_all_calls_with_a_concurrency_of_one(stand: EngineFixture) -> None:
    """So that a function may use a client that belongs to its thread; and it is not the event loop's."""
    threads: set[int] = set()
    stand.numbers(100)

    drain(stand.engine(lambda _: threads.add(threading.get_ident())))

    assert len(threads) == 1
    assert threads != {threading.get_ident()}


# -- fetching ahead


def test_a_slow_function_fetches_little_ahead(stand: EngineFixture) -> None:
    """What waits for a slow call, fetched, is work that other workers could do: it does not grow with time."""
    source = Source([b"%d" % n for n in range(2_000)])
    done: list[int] = []

    def function(number: int) -> None:
        time.sleep(0.08)
        done.append(number)

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue())):
            await until(lambda: len(done) >= 10)
            early = len(source.held)
            await until(lambda: len(done) >= 25)
            assert early <= 40
            assert len(source.held) < early

    asyncio.run(main())


def test_two_workers_share_the_work_of_a_slow_function(stand: EngineFixture) -> None:
    """The second, which comes later, gets about half."""
    stand.numbers(120)
    shares: dict[str, list[int]] = {"first": [], "second": []}

    def worker(name: str) -> Any:
        def function(number: int) -> None:
            time.sleep(0.02)
            shares[name].append(number)

        return stand.engine(function, [], app_name=name)

    async def main() -> None:
        async with running(worker("first")):
            await until(lambda: len(shares["first"]) >= 2)
            async with running(worker("second")):
                await until(lambda: len(shares["first"]) + len(shares["second"]) == 120)

    asyncio.run(main())

    assert len(shares["second"]) >= 30


def test_the_batches_of_a_slow_batch_function_stay_large(stand: EngineFixture) -> None:
    """A call that costs the same for one and for a thousand is made for as many as there are."""
    sizes: list[int] = []

    def function(numbers: list[int]) -> None:
        sizes.append(len(numbers))
        time.sleep(0.15)

    source = Source([b"%d" % n for n in range(2_000)])

    drain(stand.engine(function, [], source=source.queue(batch=True), batch_size=200))

    assert sum(sizes) == 2_000
    assert len(sizes) <= 20
    assert max(sizes) == 200


def test_batches_grow_with_the_backlog_and_are_one_message_when_idle(stand: EngineFixture) -> None:
    """Latency is low when there is little to do, the throughput high when there is much."""
    source = Source([b"1"])
    sizes: list[int] = []

    def function(numbers: list[int]) -> None:
        sizes.append(len(numbers))

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue(batch=True))):
            await until(lambda: sizes == [1])
            source.add(*[b"1"] * 5_000)
            await until(lambda: sum(sizes) == 5_001)

    asyncio.run(main())

    assert max(sizes) >= 500


# -- what may go wrong in a call


@FORMS
@pytest.mark.parametrize("batch", [False, True], ids=["each", "batch"])
def test_a_cancelled_error_from_the_function_is_its_failure(
    stand: EngineFixture, asynchronous: bool, batch: bool
) -> None:
    """A task that the function awaits may have been cancelled; that must not end the executor's task in silence."""

    def sync(number: Any) -> None:
        raise asyncio.CancelledError

    async def also_async(number: Any) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        await task

    stand.numbers(2)

    drain(stand.engine(also_async if asynchronous else sync, source=stand.memory("in", batch=batch), dead_letters=True))

    assert [read(letter).error_type for letter in stand.take("dead")] == ["CancelledError"] * 2


@FORMS
def test_a_function_that_exits_ends_the_process_and_leaves_the_message(
    stand: EngineFixture, asynchronous: bool
) -> None:
    """sys.exit() in a function is not a failure of the message: the code is kept, nothing is settled for it."""

    def sync(number: int) -> None:
        if number == 1:
            raise SystemExit(3)

    async def also_async(number: int) -> None:
        sync(number)

    stand.numbers(2)

    with pytest.raises(SystemExit) as caught:
        drain(stand.engine(also_async if asynchronous else sync))

    assert caught.value.code == 3
    assert b"1" in stand.bodies("in")


def test_a_cancellation_that_comes_late_meets_no_other_call(stand: EngineFixture) -> None:
    """A timer that a call left behind cancels that call's task, which has ended, and not the next message."""
    source, tried = Source([b"0", b"1", b"2"]), []
    fired = asyncio.Event()

    def late(task: asyncio.Task[Any]) -> None:
        task.cancel()
        fired.set()

    async def function(number: int) -> None:
        tried.append(number)
        if number == 0:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.02, late, task)
            await asyncio.sleep(0)
        else:
            await fired.wait()

    worker = drain(stand.engine(function, [], source=source.queue(), concurrency=1))

    assert tried == [0, 1, 2]
    assert worker.summary() == ["engine 'penstock', queue 'in': 3 received, 3 succeeded"]


@pytest.mark.parametrize("batch", [False, True], ids=["each", "batch"])
def test_a_call_that_ends_after_its_queues_were_closed_delivers_nothing(stand: EngineFixture, batch: bool) -> None:
    """It outlived the shutdown timeout and its cancellation: its messages are redelivered, not sent and lost."""
    source, sink = Source([b"1"]), Sink()
    begun, go_on, returned = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def function(_: Any) -> Any:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await go_on.wait()
        returned.set()
        return ("out", 1)

    async def main() -> None:
        engine = stand.engine(function, source=source.queue(batch=batch), targets=[sink.queue()])
        async with running(engine, shutdown_timeout=0.1) as run:
            await begun.wait()
            await run.stop()
            before = list(source.calls), list(sink.calls)
            go_on.set()
            await returned.wait()
            await for_a_while(0.1, lambda: (source.calls, sink.calls) != before)

    asyncio.run(main())

    assert (sink.bodies, source.settled("on_success", "on_fail")) == ([], [])


def test_an_async_function_that_never_suspends_lets_the_event_loop_turn(stand: EngineFixture) -> None:
    """Leases, heartbeats and signals go on beside it."""
    source = Source([b"%d" % n for n in range(60)])
    turns: list[float] = []

    async def function(number: int) -> None:
        time.sleep(0.02)

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue())):
            while len(source.settled()) < 60:
                turns.append(time.monotonic())
                await asyncio.sleep(0.001)

    asyncio.run(main())

    # Not in seconds: on a busy machine a sleep of 20 ms takes longer.
    assert max(later - earlier for earlier, later in pairwise(turns)) < (turns[-1] - turns[0]) / 2


def test_an_async_batch_function_that_never_suspends_lets_the_event_loop_turn(stand: EngineFixture) -> None:
    """The same for batches."""
    source = Source([b"%d" % n for n in range(200)])
    turns = 0

    async def function(numbers: list[int]) -> None:
        time.sleep(0.01)

    async def main() -> None:
        nonlocal turns
        engine = stand.engine(function, [], source=source.queue(batch=True), batch_size=10)
        async with running(engine):
            while len(source.settled()) < 200:
                turns += 1
                await asyncio.sleep(0.001)

    asyncio.run(main())

    assert turns >= 5
