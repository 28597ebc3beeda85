"""How an engine stops, and how it drains its input queue."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from core.tests.engine_fixture import (
    TIMEOUT,
    EngineFixture,
    drain,
    echo,
    for_a_while,
    running,
    settings,
    until,
)
from core.tests.scripted import BareConsumer, Sink, Source, source_of

from penstock.capabilities import Capabilities
from penstock.errors import ConnectorError
from penstock.worker.worker import Worker

# -- stopping


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_stop_finishes_what_runs_settles_it_and_leaves_the_rest(stand: EngineFixture, form: str) -> None:
    """The call under way ends, its output is sent, its input settled; what was only fetched is requeued."""
    source, sink = source_of(50), Sink()
    begun, go = threading.Event(), threading.Event()
    calls: list[int] = []

    def sync(number: int) -> Any:
        calls.append(number)
        begun.set()
        assert go.wait(30)
        return "out", number

    async def asynchronous(number: int) -> Any:
        calls.append(number)
        begun.set()
        while not go.is_set():
            await asyncio.sleep(0.01)
        return "out", number

    async def main() -> None:
        engine = stand.engine(sync if form == "sync" else asynchronous, source=source.queue(), targets=[sink.queue()])
        async with running(engine) as run:
            await until(begun.is_set)
            run.worker.stop()
            asyncio.get_running_loop().call_later(0.2, go.set)
            await run.ended()

    asyncio.run(main())

    assert calls == [0]
    assert (sink.bodies, source.settled()) == ([b"0"], [b"0"])
    assert [name for name, _ in source.calls][-1] == "shutdown"
    assert sink.count("shutdown") == 1


def test_a_stop_finishes_a_delivery_under_way(stand: EngineFixture) -> None:
    """An output that is slow to confirm is waited for, within the shutdown timeout, and then the input is settled."""
    source, sink = source_of(3), Sink()
    sink.open.clear()

    async def main() -> None:
        async with running(stand.engine(echo, source=source.queue(), targets=[sink.queue()])) as run:
            await until(lambda: sink.count("produce"))
            run.worker.stop()
            await asyncio.sleep(0.1)
            sink.open.set()
            await run.ended()

    asyncio.run(main())

    assert source.settled() == sink.bodies != []


def test_a_connector_that_waits_at_a_stop_gets_back_what_was_not_begun(stand: EngineFixture) -> None:
    """As one that may give a partition away only when its messages are settled: no others come, so it need not wait."""
    go = threading.Event()

    async def until_requeued() -> None:
        waiting.set()
        while source.held:
            await asyncio.sleep(0.01)
        source.visible.clear()

    source, waiting = source_of(4, consume=[None, until_requeued]), asyncio.Event()

    def function(_number: int) -> None:
        assert go.wait(30)
        time.sleep(0.4)  # longer than two slices: no further call of its batch is begun

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue(), batch_size=4)) as run:
            await asyncio.wait_for(waiting.wait(), TIMEOUT)
            stopping = asyncio.create_task(run.stop())
            await asyncio.sleep(0)
            go.set()
            await stopping

    asyncio.run(main())

    assert (source.settled(), source.settled("on_fail")) == ([b"0"], [b"1", b"2", b"3"])


def test_a_connector_that_does_not_return_costs_a_stop_no_more_than_its_time(stand: EngineFixture) -> None:
    """What runs is finished meanwhile, and settled."""
    hangs, calls = asyncio.Event(), threading.Event()
    asked = asyncio.Event()

    async def hang() -> None:
        asked.set()
        await hangs.wait()

    source = source_of(1, consume=[None, hang])

    def function(_number: int) -> None:
        assert calls.wait(30)

    async def main() -> float:
        async with running(stand.engine(function, [], source=source.queue()), shutdown_timeout=1.5) as run:
            await asyncio.wait_for(asked.wait(), TIMEOUT)
            started = time.monotonic()
            stopping = asyncio.create_task(run.stop())
            await asyncio.sleep(0.2)
            calls.set()
            await stopping
            return time.monotonic() - started

    seconds = asyncio.run(main())

    assert source.settled() == [b"0"]
    assert source.count("shutdown") == 1
    assert 1.0 < seconds < 2.9


def test_messages_between_two_tries_are_left_at_a_stop(stand: EngineFixture) -> None:
    """A retry that would come in an hour holds nothing up."""
    source = source_of(1)
    calls: list[int] = []

    def function(number: int) -> None:
        calls.append(number)
        raise LookupError("later")

    async def main() -> None:
        retry = {"max_attempts": 5, "initial_delay": 3600, "max_delay": 3600}
        async with running(stand.engine(function, [], source=source.queue(), retry=retry)) as run:
            await until(lambda: calls)
            await asyncio.sleep(0.05)
            started = time.monotonic()
            await run.stop()
            assert time.monotonic() - started < 1.5

    asyncio.run(main())

    assert (calls, source.settled(), source.settled("on_fail")) == ([0], [], [])
    assert source.count("shutdown") == 1


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_function_that_never_returns_costs_the_grace_and_no_more(
    stand: EngineFixture, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """shutdown_timeout bounds the end; what it worked on is left to be redelivered."""
    source, begun = source_of(5), threading.Event()
    never = threading.Event()

    def sync(number: int) -> None:
        begun.set()
        never.wait(60)

    async def asynchronous(number: int) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def main() -> None:
        engine = stand.engine(sync if form == "sync" else asynchronous, [], source=source.queue())
        async with running(engine, shutdown_timeout=0.4) as run:
            await until(begun.is_set)
            started = time.monotonic()
            await run.stop()
            assert 0.4 <= time.monotonic() - started < 2.0

    asyncio.run(main())
    never.set()

    assert source.settled() == []
    assert source.count("shutdown") == 1
    assert "not finished after 0.4 s; 5 messages are left to be redelivered" in caplog.text


def test_a_call_that_outlives_the_shutdown_timeout_begins_no_delivery(stand: EngineFixture) -> None:
    """Its queues are being closed: the connectors are promised that nothing else is under way."""
    source, begun, go = source_of(1), threading.Event(), threading.Event()

    def function(number: int) -> tuple[str, int]:
        begun.set()
        go.wait(60)
        return "out", number

    async def close() -> None:
        go.set()
        await until(lambda: not engine.pipeline.executor._active, "the call has come back")

    sink = Sink(shutdown=[close])
    engine = stand.engine(function, source=source.queue(), targets=[sink.queue()])

    async def main() -> None:
        async with running(engine, shutdown_timeout=0.1) as run:
            await until(begun.is_set)
            await run.stop()

    asyncio.run(main())

    assert sink.count("produce") == 0
    assert source.settled() == []


@pytest.mark.parametrize("method", ["produce", "on_success", "consume", "connect"])
def test_a_cancellation_out_of_a_connector_ends_the_engine(stand: EngineFixture, method: str) -> None:
    """Asynchronous clients cancel what waits when their channel closes: no message may be stranded in silence."""
    cancelled = asyncio.CancelledError()
    sink = Sink(produce=[cancelled] if method == "produce" else [])
    source = Source((b"1", b"2"), **({} if method == "produce" else {method: [cancelled]}))

    with pytest.raises(ConnectorError, match=f"{method} raised CancelledError: ; this is a bug of .*Scripted"):
        drain(stand.engine(lambda number: ("out", number), source=source.queue(), targets=[sink.queue()]))

    assert source.count("shutdown") == 1


def test_a_stop_of_an_idle_engine_is_quick(stand: EngineFixture) -> None:
    """Half a second at most: one empty consume."""

    async def main() -> None:
        async with running(stand.engine(echo)) as run:
            await until(run.worker.health.ready)
            started = time.monotonic()
            await run.stop()
            assert time.monotonic() - started < 1.0

    asyncio.run(main())


def test_nothing_fetched_is_lost_between_a_stop_and_its_end(stand: EngineFixture) -> None:
    """In memory: stopped again and again in mid-work, every message comes out at least once, none stays behind."""
    count = 3_000
    stand.numbers(count)

    async def main() -> None:
        for pause in (0.02, 0.03, 0.04, 0.05):
            async with running(stand.engine(echo, max_in_flight=200, concurrency=2)):
                await asyncio.sleep(pause)

    asyncio.run(main())
    drain(stand.engine(echo))

    assert sorted(stand.bodies()) == sorted(b"%d" % number for number in range(count))
    assert stand.bodies("in") == []


# -- draining


def test_a_drain_waits_for_what_is_held_back(stand: EngineFixture) -> None:
    """A message requeued with a delay is not there, and yet to come."""
    calls: list[float] = []

    def function(number: int) -> bool:
        calls.append(time.monotonic())
        return len(calls) > 1

    stand.numbers(1)

    drain(stand.engine(function, retry={"initial_delay": 0.4, "max_delay": 0.4, "jitter": 0}))

    assert len(calls) == 2


def test_a_drain_waits_for_a_slow_function_and_a_slow_output(stand: EngineFixture) -> None:
    """Empty is not through."""
    source, sink = source_of(2), Sink(produce=[lambda: asyncio.sleep(0.3)])

    def function(number: int) -> Any:
        time.sleep(0.2)
        return "out", number

    drain(stand.engine(function, source=source.queue(), targets=[sink.queue()]))

    assert sorted(sink.bodies) == sorted(source.settled()) == [b"0", b"1"]


def test_a_drain_of_a_backend_that_cannot_tell_its_lag_ends_too(stand: EngineFixture) -> None:
    """Then a consume that finds nothing is all that can be known."""
    source = source_of(5)

    class NoLag(BareConsumer):
        async def lag(self) -> int | None:
            return None

    drain(stand.engine(echo, source=source.queue(consumer=NoLag)))

    assert len(source.settled()) == 5


def test_a_drain_does_not_trust_a_lag_that_is_not_known_yet(stand: EngineFixture) -> None:
    """A group without an assignment finds nothing, and does not know yet what there is."""
    source, known = source_of(0), []

    class Late(BareConsumer):
        capabilities = Capabilities(lag=True)

        async def lag(self) -> int | None:
            return await super().lag() if known else None

    async def main() -> None:
        worker = Worker([stand.engine(echo, source=source.queue(consumer=Late))], settings(), drain=True)
        serving = asyncio.create_task(worker.serve())
        await for_a_while(0.4, serving.done)
        known.append(True)
        source.add(b"1")
        async with asyncio.timeout(10):
            await serving

    asyncio.run(main())

    assert stand.bodies() == [b"1"]
