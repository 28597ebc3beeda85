"""What the log says of servers that are away: when one is lost, while it is, and how long it was."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence

import pytest
from core.tests.engine_fixture import EngineFixture, running, until, warnings_in
from core.tests.scripted import ScriptedConsumer, ScriptedProducer, Sink, Source
from core.tests.test_queues import writer

from penstock.connectors import BlockingConsumer, BlockingProducer
from penstock.errors import NotConnected
from penstock.message import Record
from penstock.observability.outages import Trouble, duration
from penstock.queues.adapters import make_consumer, make_producer

AWAY = NotConnected("S at s:1: reset by peer")


class NamedConsumer(ScriptedConsumer):
    """Says where its server is."""

    server = "S at s:1"


class NamedProducer(ScriptedProducer):
    """The same."""

    server = "S at s:1"


def echo(number: int) -> tuple[str, int]:
    """The function of all engines here."""
    return ("out", number)


def test_a_lost_server_is_one_line_for_all_its_queues_and_engines(caplog: pytest.LogCaptureFixture) -> None:
    """With how much waits when it is back; the fields are those that all its queues share."""
    fixture = EngineFixture()
    sources = [Source(consume=[None, AWAY], connect=[None, AWAY]) for _ in range(2)]
    sinks = [Sink(produce=[AWAY]), Sink()]
    engines = [
        fixture.engine(
            echo, app_name=f"till-{n}", source=source.queue(consumer=NamedConsumer),
            targets=[sink.queue(producer=NamedProducer)],
        )
        for n, (source, sink) in enumerate(zip(sources, sinks, strict=True))
    ]  # fmt: skip

    async def main() -> None:
        async with running(*engines) as run:
            await until(run.worker.health.ready)
            for source in sources:
                source.add(b"1")
            await until(lambda: sinks[0].stored and sinks[1].stored)
            await until(lambda: "connected again" in caplog.text)

    asyncio.run(main())

    lines = warnings_in(caplog.records)
    assert lines[0] == (
        "S at s:1: reset by peer; connecting again; queues 'in' and 'out' of engine 'till-0' and queues 'in' and 'out' "
        "of engine 'till-1' wait"
    )
    lost = [line for line in lines if "connecting again" in line]
    back = [line for line in lines if "connected again" in line]
    assert 1 <= len(lost) == len(back) <= 2  # the output is lost in the same moment, or just after
    assert re.search(r"connected again after [\d.]+ s; \d messages? waits? in 'in'", back[0])
    assert vars(caplog.records[0]).get("engine") is None


def test_a_server_that_is_away_at_the_start_says_how_long_it_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    """One line, and one when it is there; what the reason repeats of the server's name is left out."""
    source = Source(connect=[AWAY, AWAY])

    async def main() -> None:
        engine = EngineFixture().engine(echo, [], source=source.queue(consumer=NamedConsumer), app_name="till")
        async with running(engine) as run:
            await until(run.worker.health.ready)
            await until(lambda: "connected again" in caplog.text)

    asyncio.run(main())

    start, end = warnings_in(caplog.records)
    assert start == (
        "S at s:1: reset by peer; trying to connect for 5.0 s (worker: connect_timeout); "
        "queue 'in' of engine 'till' waits"
    )
    assert end.startswith("S at s:1: connected again after ")


def test_a_connection_that_broke_in_an_outage_is_no_second_one(caplog: pytest.LogCaptureFixture) -> None:
    """An output that nothing was sent to notices it long after the server is back."""
    source = Source(consume=[None, AWAY])
    sink = Sink(produce=[AWAY])
    engine = EngineFixture().engine(
        echo, source=source.queue(consumer=NamedConsumer), targets=[sink.queue(producer=NamedProducer)]
    )

    async def main() -> None:
        async with running(engine) as run:
            await until(run.worker.health.ready)
            source.add(b"1", b"2")
            await until(lambda: len(sink.stored) == 2)

    asyncio.run(main())

    assert sum("connecting again" in line for line in warnings_in(caplog.records)) == 1


def test_a_client_that_waits_in_silence_is_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some reconnect by themselves, and say nothing: what they confirm late is told, and that it goes on."""
    monkeypatch.setattr("penstock.queues.connection.SILENT", 0.05)
    sink = Sink()
    sink.open.clear()

    async def main() -> None:
        async with writer(sink.queue(producer=NamedProducer)) as out:
            produced = asyncio.create_task(out.produce([Record(b"1")]))
            await until(lambda: "confirmed" in caplog.text)
            sink.open.set()
            await produced

    asyncio.run(main())

    silent, back = warnings_in(caplog.records)
    assert silent == "S at s:1: no record is confirmed for 0.05 s; queue 'out' waits"
    assert back.startswith("S at s:1: connected again after 0.")


def test_reminders_come_at_growing_intervals() -> None:
    """An outage of a day is a few dozen lines, not thousands."""
    trouble = Trouble()
    told = [second for second in range(24 * 3600) if trouble.is_due(second)]

    assert told[:5] == [0, 10, 40, 130, 400]
    assert len(told) < 150
    assert trouble.over(24 * 3600) == 24 * 3600
    assert trouble.over(24 * 3600) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.6, "1 min 0 s"), (312, "5 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations_are_read_aloud(seconds: float, text: str) -> None:
    """As people say them."""
    assert duration(seconds) == text


def test_a_blocking_connector_names_its_server_too() -> None:
    """The adapter passes it on."""

    class Reads(BlockingConsumer):
        server = "S at s:1"

        def connect(self) -> None: ...

        def consume(self, max_messages: int, timeout: float) -> Sequence[object]: ...  # type: ignore[override]

        def on_success(self, messages: Sequence[object]) -> None: ...  # type: ignore[override]

        def on_fail(self, messages: Sequence[object], delay: float | None = None) -> None: ...  # type: ignore[override]

        def shutdown(self) -> None: ...

    class Writes(BlockingProducer):
        server = "S at s:1"

        def connect(self) -> None: ...

        def produce(self, records: Sequence[Record]) -> Sequence[None]: ...

        def shutdown(self) -> None: ...

    assert make_consumer(Reads, "in", {}).server == make_producer(Writes, "out", {}).server == "S at s:1"


def test_what_a_connector_logs_knows_its_engine(caplog: pytest.LogCaptureFixture) -> None:
    """Queue and connector, too, although the connector knows none of them; also on a thread that it asks."""
    log = logging.getLogger("penstock.scripted")
    source = Source(connect=[lambda: asyncio.to_thread(log.warning, "hello")])

    async def main() -> None:
        async with running(EngineFixture().engine(echo, [], source=source.queue(), app_name="till")) as run:
            await until(run.worker.health.ready)

    asyncio.run(main())

    (record,) = [each for each in caplog.records if each.name == "penstock.scripted"]
    said = {name: getattr(record, name) for name in ("engine", "queue", "connector")}
    assert said == {"engine": "till", "queue": "in", "connector": "ScriptedConsumer"}
