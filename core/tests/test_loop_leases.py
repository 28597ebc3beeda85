"""How an engine keeps leases, and how it lives with a broker that is away."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import pytest
from core.tests.engine_fixture import (
    EngineFixture,
    drain,
    echo,
    for_a_while,
    running,
    until,
    warnings_in,
)
from core.tests.scripted import Sink, Source, source_of

from penstock.errors import FatalConnectorError, NotConnected
from penstock.message import QueueMessage

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
