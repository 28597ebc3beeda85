"""An open queue by itself, without an engine: it connects, stays connected, and says how it is."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from core.tests.engine_fixture import TIMEOUT, EngineFixture, until, warnings_in
from core.tests.scripted import BareConsumer, BareProducer, Sink, Source

from penstock.config.files import load
from penstock.config.model import QueueConfig
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConnectorError, FatalConnectorError, FunctionError, NotConnected, ProduceError
from penstock.message import Record
from penstock.observability.health import Health
from penstock.options import Role
from penstock.queues.packing import open_envelope
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.queues.resolved_queue import ResolvedQueue

AWAY = NotConnected("the broker is away", retry_after=0.0)


def resolved(queue: QueueConfig, role: Role) -> ResolvedQueue:
    configuration = load([queue])
    return resolve_queue(configuration, queue.name, role, registry=registry_for(configuration))


def reader(queue: QueueConfig, **keys: Any) -> InputQueue:
    return InputQueue(resolved(queue, "input"), **keys)


def writer(queue: QueueConfig, **keys: Any) -> OutputQueue:
    return OutputQueue(resolved(queue, "output"), **keys)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(TIMEOUT):
            await main()

    asyncio.run(whole())


def test_a_queue_is_usable_without_an_engine() -> None:
    """Open, produce, consume, decode, settle, close."""
    stand = EngineFixture()

    async def main() -> None:
        async with writer(stand.memory("orders")) as out, reader(stand.memory("orders")) as inbox:
            assert await out.produce([Record(out.encode({"n": 1}), b"k")]) == ()
            assert await inbox.lag() == 1
            [message] = await inbox.consume(10, 1.0)
            assert (inbox.decode(message.message), message.key) == ({"n": 1}, b"k")
            assert await inbox.on_success([message]) == 0
            assert await inbox.lag() == 0

    run(main)

    assert stand.take("orders") == []


def test_a_late_settlement_is_counted() -> None:
    """`on_success` says how many were no longer ours."""
    stand = EngineFixture()
    stand.put(b"1")

    async def main() -> None:
        async with reader(stand.memory("in")) as inbox:
            messages = await inbox.consume(10, 1.0)
            await inbox.on_fail(messages)
            assert await inbox.on_success(messages) == 1

    run(main)


# -- connecting


def test_a_backend_that_is_away_at_the_start_is_waited_for() -> None:
    """Tried again until it is there; the registry says why meanwhile."""
    source, health = Source([b"1"], connect=[AWAY, AWAY]), Health()

    async def main() -> None:
        inbox = reader(source.queue(), health=health)
        assert not inbox.connected
        opening = asyncio.create_task(inbox.open(5.0))
        await until(lambda: health.report()["components"]["input in"]["state"] == "degraded")
        assert health.report()["components"]["input in"]["reason"] == "the broker is away"
        await opening
        assert inbox.connected
        assert health.ready()
        await inbox.close()

    run(main)

    assert source.count("connect") == 3


def test_a_backend_that_stays_away_is_a_clear_error_after_the_connect_timeout() -> None:
    """Not before it is used up, not long after."""
    source = Source(connect=[NotConnected("no route to host")] * 1_000)

    async def main() -> None:
        inbox = reader(source.queue())
        started = time.monotonic()
        with pytest.raises(NotConnected) as caught:
            await inbox.open(0.6)
        assert 0.6 <= time.monotonic() - started < 2.0
        assert str(caught.value) == (
            "queue 'in', ScriptedConsumer: no route to host; given up after 0.6 s (worker: connect_timeout)"
        )
        await inbox.close()

    run(main)

    assert source.count("connect") >= 3
    assert source.count("shutdown") == 1


def test_a_connect_timeout_of_zero_is_one_attempt() -> None:
    """connect_timeout: 0 means: now or never."""
    source = Source(connect=[NotConnected("no route to host")])

    async def main() -> None:
        with pytest.raises(NotConnected):
            await reader(source.queue()).open(0.0)

    run(main)

    assert source.count("connect") == 1


def test_a_fatal_error_at_connecting_is_not_tried_again() -> None:
    """A wrong password does not get better."""
    source = Source(connect=[FatalConnectorError("wrong password")])

    async def main() -> None:
        with pytest.raises(FatalConnectorError, match=r"^queue 'in', ScriptedConsumer: wrong password$"):
            await reader(source.queue()).open(5.0)

    run(main)

    assert source.count("connect") == 1


def test_a_connector_that_asks_for_no_pause_makes_no_hot_loop() -> None:
    """retry_after=0 is at once, and not a thousand times a second."""
    source = Source(connect=[AWAY] * 10_000)

    async def main() -> None:
        with pytest.raises(NotConnected):
            await reader(source.queue()).open(0.5)

    run(main)

    assert source.count("connect") <= 7


# -- staying connected


def test_a_lost_connection_is_mended_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The call is repeated; one line in the log and one count, also if several calls notice it."""
    losses: list[int] = []
    cut = asyncio.Event()

    async def reset() -> None:
        await cut.wait()
        raise NotConnected("reset by peer")

    sink = Sink(produce=[reset] * 4)

    async def main() -> None:
        async with writer(sink.queue(), on_reconnect=lambda: losses.append(1)) as out:
            producing = [asyncio.create_task(out.produce([Record(b"%d" % n)])) for n in range(4)]
            await until(lambda: sink.count("produce") == 4)
            cut.set()
            await asyncio.gather(*producing)
            assert out.connected

    run(main)

    assert sorted(sink.bodies) == [b"0", b"1", b"2", b"3"]
    assert (sink.count("connect"), len(losses)) == (2, 1)
    assert warnings_in(caplog.records) == [
        "queue 'out', ScriptedProducer: reset by peer; connecting again",
        "queue 'out', ScriptedProducer: connected again after 0.0 s",
    ]


def test_a_connection_that_breaks_at_once_makes_no_hot_loop() -> None:
    """connect() succeeds, the next call fails, for ever: a few attempts a second."""
    source = Source(consume=[NotConnected("reset by peer")] * 10_000)

    async def main() -> None:
        inbox = reader(source.queue())
        async with inbox:
            consuming = asyncio.create_task(inbox.consume(10, 1.0))
            await asyncio.sleep(1.0)
            assert source.count("consume") <= 5
            await until(lambda: not inbox.connected)  # on a busy machine this may be the moment between two calls
            inbox.stop()
            assert await consuming == ()

    run(main)


def test_the_pause_that_a_connector_asks_for_is_kept() -> None:
    """retry_after is the backend's own word, also from a call that is not connect."""
    source = Source([b"1"], consume=[NotConnected("throttled", retry_after=0.4)])

    async def main() -> None:
        async with reader(source.queue()) as inbox:
            started = time.monotonic()
            [message] = await inbox.consume(10, 1.0)
            assert time.monotonic() - started >= 0.4
            assert message.message == b"1"

    run(main)


def test_a_stopped_input_returns_from_a_wait_for_its_backend_but_still_settles() -> None:
    """A worker must end while its broker is away; what it finished is settled if the broker comes back in time."""
    source = Source([b"1"], connect=[None, AWAY, AWAY, AWAY])

    async def main() -> None:
        async with reader(source.queue()) as inbox:
            messages = await inbox.consume(10, 1.0)
            source.steps |= {"consume": deque([AWAY]), "on_success": deque([AWAY])}
            consuming = asyncio.create_task(inbox.consume(10, 1.0))
            settling = asyncio.create_task(inbox.on_success(messages))
            await until(lambda: source.count("connect") >= 2)
            inbox.stop()
            assert await consuming == ()
            assert await settling == 0

    run(main)

    assert source.settled() == [b"1", b"1"]  # the call that failed, and the one that went through


def test_lag_is_unknown_while_the_backend_is_away() -> None:
    """None, and no error: a scrape must not stop an engine."""
    source = Source([b"1"], lag=[AWAY])

    async def main() -> None:
        async with reader(source.queue()) as inbox:
            assert await inbox.lag() is None
            assert await inbox.lag() == 1

    run(main)


def test_extending_says_that_the_backend_is_away() -> None:
    """It does not wait: the next one comes soon."""
    source = Source(extend=[AWAY])

    async def main() -> None:
        async with reader(source.queue()) as inbox:
            with pytest.raises(NotConnected):
                await inbox.extend([])
            await inbox.extend([])

    run(main)


@pytest.mark.parametrize("error", [FatalConnectorError("fenced"), ConnectorError("no such table")])
def test_a_refusal_is_raised_with_the_queues_name(error: ConnectorError) -> None:
    """And keeps its kind, which says who must act."""
    source = Source(consume=[error])

    async def main() -> None:
        async with reader(source.queue()) as inbox:
            with pytest.raises(type(error), match=rf"^queue 'in', ScriptedConsumer: {error}$"):
                await inbox.consume(10, 1.0)

    run(main)


def test_a_message_of_an_error_names_the_place_in_the_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """File and line, where the configuration has them."""
    file = tmp_path / "queues.yml"
    file.write_text("queues:\n  out:\n    connector: memory\n    config: {max_length: 1}\n")
    configuration = load(file)
    out = OutputQueue(resolve_queue(configuration, "out", "output", registry=registry_for(configuration)))

    with pytest.raises(ConnectorError) as caught:
        asyncio.run(_produce_closed(out))

    assert str(caught.value).startswith(f"queue 'out' ({file}:2), memory: the producer of 'out' is closed")


async def _produce_closed(out: OutputQueue) -> None:
    await out.open()
    await out.close()
    await out.produce([Record(b"1")])


# -- producing


def test_records_are_sent_again_until_they_are_confirmed() -> None:
    """Only those that were refused for now; the caller waits, and learns of no error."""
    sink, refused = Sink([ProduceError("busy"), None, ProduceError("busy"), None, ProduceError("busy")]), []
    health = Health()

    async def main() -> None:
        async with writer(sink.queue(), health=health, on_refused=refused.append) as out:
            assert await out.produce([Record(b"1"), Record(b"2"), Record(b"3")]) == ()
            assert health.ready()

    run(main)

    assert sink.bodies == [b"2", b"1", b"3"]
    assert refused == [2, 1]


def test_what_is_refused_for_good_is_said_record_by_record() -> None:
    """One entry a record; those that can be are still sent again."""
    sink = Sink([ProduceError("too large", retriable=False), ProduceError("busy"), None])

    async def main() -> None:
        async with writer(sink.queue()) as out:
            errors = await out.produce([Record(b"1"), Record(b"2"), Record(b"3")])
            assert [error and str(error) for error in errors] == ["too large", None, None]

    run(main)

    assert sink.bodies == [b"3", b"2"]


def test_producing_nothing_is_no_error() -> None:
    """An empty list is confirmed."""

    async def main() -> None:
        async with writer(Sink().queue()) as out:
            assert await out.produce([]) == ()

    run(main)


def test_a_produce_can_be_given_up() -> None:
    """Cancelled while it waits for a backend that refuses: nothing goes on behind its back."""
    sink = Sink([ProduceError("busy")] * 10_000)

    async def main() -> None:
        async with writer(sink.queue()) as out:
            producing = asyncio.create_task(out.produce([Record(b"1")]))
            await until(lambda: sink.count("produce") >= 2)
            producing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await producing
            before = sink.count("produce")
            await asyncio.sleep(0.5)
            assert sink.count("produce") == before

    run(main)


def test_a_backend_without_headers_gets_them_in_an_envelope_and_only_then() -> None:
    """A plain body stays plain, so that others can read it; the input side opens what it finds."""
    sink = Sink()

    async def main() -> None:
        async with writer(sink.queue(producer=BareProducer)) as out:
            await out.produce([Record(b"plain"), Record(b"\x00body", b"key", [("h", b"1"), ("h", b"\xff")])])

    run(main)

    assert sink.bodies[0] == b"plain"
    source = Source(sink.bodies)

    async def back() -> None:
        async with reader(source.queue(consumer=BareConsumer)) as inbox:
            assert inbox.enveloped
            plain, wrapped = await inbox.consume(10, 1.0)
            for message in (plain, wrapped):
                open_envelope(message)
            assert (plain.message, plain.key, list(plain.headers)) == (b"plain", None, [])
            assert (wrapped.message, wrapped.key) == (b"\x00body", b"key")
            assert list(wrapped.headers) == [("h", b"1"), ("h", b"\xff")]

    run(back)


def test_a_record_with_a_delay_is_refused_where_it_cannot_be_delayed() -> None:
    """`check` says so before anything is sent."""
    out = writer(Sink().queue(producer=BareProducer))
    out.check(Record(b"1"))

    with pytest.raises(FunctionError, match="connector 'BareProducer' has no 'record_delay'"):
        out.check(Record(b"1", delay=1.0))


def test_a_delay_is_left_out_where_the_input_cannot_honour_one() -> None:
    """A connector without `requeue_delay` is only asked for None."""
    able, bare = Source([b"1"]), Source([b"1"])

    async def main() -> None:
        async with reader(able.queue()) as first, reader(bare.queue(consumer=BareConsumer)) as second:
            await first.on_fail(await first.consume(1, 1.0), 5.0)
            await second.on_fail(await second.consume(1, 1.0), 5.0)

    run(main)

    assert (able.delays, bare.delays) == ([5.0], [None])


# -- closing


@pytest.mark.parametrize("error", [AWAY, ConnectorError("half closed"), LookupError("a bug")], ids=repr)
def test_closing_never_raises(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """What was not settled is redelivered, and other queues are still to be closed."""
    source = Source(shutdown=[error])

    async def main() -> None:
        async with reader(source.queue()):
            pass

    run(main)

    [line] = warnings_in(caplog.records)
    assert line.startswith("queue 'in', ScriptedConsumer: did not close cleanly: ")
    assert str(error) in line


def test_closing_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A connector that hangs in shutdown is left behind."""
    monkeypatch.setattr("penstock.queues.connection.CLOSE_TIMEOUT", 0.1)
    source = Source(shutdown=[asyncio.Event().wait])

    async def main() -> None:
        async with reader(source.queue()):
            pass

    run(main)

    assert warnings_in(caplog.records) == [
        "queue 'in', ScriptedConsumer: did not close within 0.1 s and is left as it is"
    ]
