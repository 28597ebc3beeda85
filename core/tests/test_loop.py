"""The loop of an engine: how far ahead it fetches, how it keeps leases, how it lives with a broker that is away."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from collections import deque
from typing import Any

import pytest
from core.tests.engine_fixture import TIMEOUT, EngineFixture, drain, for_a_while, running, settings, until, warnings_in
from core.tests.scripted import BareConsumer, Sink, Source

from penstock.capabilities import Capabilities
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import QueueMessage
from penstock.worker.worker import Worker


@pytest.fixture
def stand() -> EngineFixture:
    """Queues of the test's own."""
    return EngineFixture()


def echo(message: Any) -> Any:
    return "out", message


def source_of(count: int, **keys: Any) -> Source:
    return Source([b"%d" % number for number in range(count)], **keys)


# -- max_in_flight


@pytest.mark.parametrize("form", ["sync", "async", "batch"])
def test_max_in_flight_holds_while_the_function_is_blocked(stand: EngineFixture, form: str) -> None:
    """No more is fetched, however long it takes; afterwards everything is done."""
    source, go = source_of(300), threading.Event()

    def function(number: Any) -> Any:
        assert go.wait(30)
        return ("out", number) if form == "sync" else [("out", each) for each in number]

    async def asynchronous(number: int) -> Any:
        while not go.is_set():
            await asyncio.sleep(0.01)
        return "out", number

    async def main() -> None:
        engine = stand.engine(
            asynchronous if form == "async" else function,
            source=source.queue(batch=form == "batch"),
            max_in_flight=25,
            concurrency=2,
        )
        async with running(engine):
            await until(lambda: source.held)
            await for_a_while(0.4, lambda: len(source.held) > 25)
            go.set()
            await until(lambda: len(source.settled()) == 300)

    asyncio.run(main())

    assert sorted(stand.bodies()) == sorted(b"%d" % number for number in range(300))


def test_max_in_flight_of_one_is_one_message_at_a_time(stand: EngineFixture) -> None:
    """Consumed, called, sent and settled before the next is fetched."""
    source, sink = source_of(20), Sink()

    drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()], max_in_flight=1))

    steps = [name for name, _ in source.calls if name == "on_success"]
    assert len(steps) == 20
    assert set(source.asked) == {1}
    assert sink.bodies == [b"%d" % number for number in range(20)]


def test_max_in_flight_bytes_holds_for_large_bodies(stand: EngineFixture) -> None:
    """The limit counts in bytes too: a few large messages, not ten thousand of them."""
    body = b'"' + b"x" * 100_000 + b'"'
    source, go = Source([body] * 200), threading.Event()

    def function(text: str) -> None:
        assert go.wait(30)

    async def main() -> None:
        engine = stand.engine(function, [], source=source.queue(), max_in_flight_bytes="2MB")
        async with running(engine):
            await until(lambda: source.held)
            # The first fetch cannot know the size: at most that many more.
            await for_a_while(0.4, lambda: len(source.held) > 20 + 16)
            go.set()
            await until(lambda: len(source.settled()) == 200)

    asyncio.run(main())


def test_memory_is_flat_while_an_output_blocks(stand: EngineFixture) -> None:
    """Back-pressure instead of a heap: what is not fetched takes no memory."""
    body = b'"' + b"x" * 1_000 + b'"'
    sink = Sink()
    sink.open.clear()
    made = 0

    class Endless(BareConsumer):
        async def consume(self, max_messages: int, timeout: float) -> Any:
            del timeout
            nonlocal made
            made += max_messages
            await asyncio.sleep(0)
            return [QueueMessage(number, body) for number in range(max_messages)]

        async def on_success(self, messages: Any) -> None:
            del messages

    async def main() -> None:
        engine = stand.engine(echo, source=Source().queue(consumer=Endless), targets=[sink.queue()], max_in_flight=500)
        async with running(engine, shutdown_timeout=0.2):
            await until(lambda: made >= 500)
            tracemalloc.start()
            await for_a_while(0.5, lambda: made > 500)
            grown, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert grown < 200_000
            sink.open.set()
            await until(lambda: made > 5_000)

    asyncio.run(main())


def test_a_client_that_must_be_polled_is_polled_while_there_is_no_room(stand: EngineFixture) -> None:
    """consume(0, …) keeps it in its group; it is not asked for messages it may not have."""
    source, go = source_of(10), threading.Event()

    class Polled(BareConsumer):
        keep_polling = True

    async def main() -> None:
        engine = stand.engine(
            lambda _: go.wait(30), [], source=source.queue(consumer=Polled), max_in_flight=3, concurrency=3
        )
        async with running(engine):
            await until(lambda: source.asked.count(0) >= 3)
            assert len(source.held) == 3
            go.set()
            await until(lambda: len(source.settled()) == 10)

    asyncio.run(main())


def test_it_is_polled_too_while_messages_are_settled_and_there_is_no_room_yet(stand: EngineFixture) -> None:
    """A large window that a function works off slowly: each settlement is not a reason to leave the client alone."""
    source, steps = source_of(400), threading.Semaphore(300)

    class Polled(BareConsumer):
        keep_polling = True

    def function(number: int) -> None:
        assert steps.acquire(timeout=TIMEOUT)

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue(consumer=Polled))):
            await until(lambda: len(source.settled()) == 300)
            # From here on slower than 10 calls a second would be polled; the window is as large as it got.
            asked = len(source.asked)
            while len(source.asked) < asked + 3:
                assert len(source.held) > 0, "it was not polled before all was done"
                steps.release()
                await asyncio.sleep(0.02)
            for _ in range(400):
                steps.release()

    asyncio.run(main())


# -- leases


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_lease_is_extended_while_the_function_runs(stand: EngineFixture, form: str) -> None:
    """Also for messages that only wait; so each is delivered once, although a call takes longer than the lease."""
    source = source_of(3, lease=0.3)

    def sync(number: int) -> None:
        time.sleep(0.5)

    async def asynchronous(number: int) -> None:
        await asyncio.sleep(0.5)

    drain(stand.engine(sync if form == "sync" else asynchronous, [], source=source.queue()))

    extended = [bodies for name, bodies in source.calls if name == "extend"]
    assert len(extended) >= 9  # every third of the lease, for 1.5 s, and a slow machine may miss some
    assert set(extended[0]) == {b"0", b"1", b"2"}
    assert b"0" not in extended[-1]
    assert source.settled() == [b"0", b"1", b"2"]


def test_a_message_in_memory_is_delivered_once_though_the_function_outlives_its_lease(stand: EngineFixture) -> None:
    """The same with a queue whose leases really end."""
    seen: list[tuple[int, int]] = []

    def function(number: int, msg_ctx: QueueMessage) -> None:
        seen.append((number, msg_ctx.attempts))
        time.sleep(0.9)

    stand.numbers(2)

    drain(stand.engine(function, [], source=stand.memory("in", config={"vt": 0.6})))

    assert seen == [(0, 1), (1, 1)]


def test_a_lease_that_cannot_be_extended_for_now_is_tried_again(
    stand: EngineFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """The backend is away for a moment: a line in the log, no more."""
    source = source_of(1, lease=0.15, extend=[NotConnected("away")])

    drain(stand.engine(lambda _: time.sleep(0.4), [], source=source.queue()))

    assert source.count("extend") >= 2
    assert "leases could not be extended: away" in caplog.text
    assert source.settled() == [b"0"]


def test_a_lease_is_extended_again_soon_after_that_failed(stand: EngineFixture) -> None:
    """Not a third of the lease later, when there may be no time left for a third attempt."""
    asked: list[float] = []

    def away() -> None:
        asked.append(time.monotonic())
        raise NotConnected("away")

    source = source_of(1, lease=6.0, extend=[away, away, lambda: asked.append(time.monotonic())])

    drain(stand.engine(lambda _: time.sleep(3.5), [], source=source.queue()))

    assert len(asked) == 3
    assert asked[2] - asked[0] < 2.0


def test_a_lease_is_extended_over_a_new_connection_while_nothing_else_is_called(stand: EngineFixture) -> None:
    """A function that takes long, no room for more: only the extension of leases learns that the connection is lost."""
    source = source_of(2, lease=0.6)

    async def lost() -> None:
        source.steps["connect"] = deque([lambda: source.steps["extend"].clear()])  # only that mends it
        raise NotConnected("lost")

    source.steps["extend"] = deque([lost, *[NotConnected("still lost")] * 1000])

    drain(stand.engine(lambda _: time.sleep(0.8), [], source=source.queue(), max_in_flight=1))

    assert source.count("connect") == 2
    assert "extend" in [name for name, _ in source.calls[source.calls.index(("connect", None), 1) :]]
    assert source.settled() == [b"0", b"1"]


def test_what_comes_while_an_extension_takes_long_is_extended_in_time(stand: EngineFixture) -> None:
    """A call that takes half of a lease does not hold up what becomes due meanwhile."""
    lease = 1.5
    taken: dict[bytes | None, float] = {}
    first: dict[bytes | None, float] = {}
    source = source_of(1, lease=lease)

    async def slowly() -> None:
        _, bodies = source.calls[-1]
        for body in bodies:
            first.setdefault(body, time.monotonic())
        await asyncio.sleep(lease / 2)

    source.steps["extend"] = deque([slowly] * 1000)
    go = asyncio.Event()

    async def function(number: int) -> None:
        taken[b"%d" % number] = time.monotonic()
        await go.wait()

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue(), concurrency=2)):
            await until(lambda: b"0" in first)
            source.add(b"1")
            await until(lambda: b"1" in first)
            go.set()

    asyncio.run(main())

    assert first[b"1"] - taken[b"1"] < lease / 2


def test_nothing_is_fetched_while_a_settlement_has_waited_for_half_a_lease(stand: EngineFixture) -> None:
    """More messages would wait behind it until their leases end; once it is through, all goes on."""
    go = asyncio.Event()
    source = source_of(5, lease=0.6, on_success=[lambda: go.wait()])

    async def main() -> None:
        async with running(stand.engine(lambda _: None, [], source=source.queue())):
            await until(lambda: source.count("on_success") == 1)
            await asyncio.sleep(1.0)  # a consume that was under way then has ended
            source.add(*[b"9"] * 100)
            await for_a_while(0.4, lambda: len(source.visible) < 100)
            go.set()
            await until(lambda: len(source.settled()) >= 105)

    asyncio.run(main())


def test_without_a_lease_nothing_is_extended(stand: EngineFixture) -> None:
    """A backend without leases is not asked."""
    source = source_of(1)

    drain(stand.engine(lambda _: time.sleep(0.6), [], source=source.queue()))

    assert source.count("extend") == 0


# -- a broker that is away


def test_a_consumer_whose_broker_is_away_heals_by_itself(
    stand: EngineFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """Reconnected with backoff; the registry says why meanwhile; nothing is lost, no hot loop."""
    away = NotConnected("the broker is away")
    source = Source([b"1"], consume=[away], connect=[None, away, away])

    async def main() -> None:
        async with running(stand.engine(echo, source=source.queue())) as run:
            await until(lambda: source.count("connect") == 3)
            report = run.worker.health.report()
            assert (report["ready"], report["alive"]) == (False, True)
            assert report["components"]["engine penstock: input in"]["reason"] == "the broker is away"
            await until(lambda: source.settled() == [b"1"])
            await until(run.worker.health.ready)

    asyncio.run(main())

    assert source.count("connect") == 4
    lost, back = warnings_in(caplog.records)
    assert lost == "queue 'in', ScriptedConsumer: the broker is away; connecting again"
    assert back.startswith("queue 'in', ScriptedConsumer: connected again after 0.")


def test_a_producer_whose_broker_is_away_heals_by_itself(stand: EngineFixture) -> None:
    """The input waits, unsettled, and everything is sent when the broker is back."""
    away = NotConnected("the broker is away")
    source, sink = source_of(10), Sink(produce=[away], connect=[None, away, away])

    async def main() -> None:
        async with running(stand.engine(echo, source=source.queue(), targets=[sink.queue()])) as run:
            await until(lambda: sink.count("connect") == 3)
            assert source.settled() == []
            assert not run.worker.health.ready()
            await until(lambda: len(source.settled()) == 10)
            await until(run.worker.health.ready)

    asyncio.run(main())

    assert sink.bodies == [b"%d" % number for number in range(10)]


def test_settling_waits_for_a_broker_that_is_away(stand: EngineFixture) -> None:
    """A settlement that did not go through is made again."""
    away = NotConnected("the broker is away")
    source = source_of(5, on_success=[away, away])

    drain(stand.engine(echo, source=source.queue()))

    assert not source.held
    assert len(stand.bodies()) == 5


@pytest.mark.parametrize("side", ["consumer", "producer"])
def test_a_stop_does_not_wait_for_a_broker_that_is_away(stand: EngineFixture, side: str) -> None:
    """It ends within the shutdown timeout; what could not be sent or settled is left."""
    for_ever = [NotConnected("the broker is away", retry_after=60)] * 100
    if side == "consumer":
        source, sink = Source([b"1"], consume=[None, *for_ever], connect=[None, *for_ever]), Sink()
    else:
        source, sink = Source([b"1"]), Sink(produce=for_ever, connect=[None, *for_ever])

    async def main() -> None:
        engine = stand.engine(echo, source=source.queue(), targets=[sink.queue()])
        async with running(engine, shutdown_timeout=0.3) as run:
            await until(lambda: source.held or sink.stored)
            await until(lambda: "degraded" in str(run.worker.health.report()))
            started = time.monotonic()
            await run.stop()
            assert time.monotonic() - started < 1.5

    asyncio.run(main())

    assert source.count("shutdown") == sink.count("shutdown") == 1
    assert source.settled() == ([b"1"] if side == "consumer" else [])


@pytest.mark.parametrize("side", ["consumer", "producer"])
def test_a_fatal_error_stops_the_engine_and_leaves_the_messages(stand: EngineFixture, side: str) -> None:
    """Authorisation gone in mid-work: the error names the queue, what was not confirmed is not settled."""
    error = [FatalConnectorError("not authorised")]
    source, sink = Source([b"1"]), Sink()
    if side == "consumer":
        source.steps["on_success"] = deque(error)
    else:
        sink.steps["produce"] = deque(error)

    with pytest.raises(FatalConnectorError, match=r"^queue '(in|out)', Scripted(Consumer|Producer): not authorised$"):
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()]))

    assert source.held
    assert source.count("shutdown") == sink.count("shutdown") == 1


def test_a_lag_that_hangs_does_not_look_like_a_hung_worker(
    stand: EngineFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat waits for no broker: an outage must not restart the fleet."""
    monkeypatch.setattr("penstock.pipeline.side_tasks.HUNG_AFTER", 0.3)
    monkeypatch.setattr("penstock.pipeline.side_tasks.BEAT_EVERY", 0.05)
    source = Source(lag=[asyncio.Event().wait])

    async def main() -> None:
        async with running(stand.engine(echo, source=source.queue())) as run:
            await until(lambda: source.count("lag"))
            await for_a_while(0.6, lambda: not run.worker.health.alive())

    asyncio.run(main())


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
        time.sleep(0.1)  # longer than a slice: no further call of its batch is begun

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
