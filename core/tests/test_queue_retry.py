"""`retry` at a queue: how often it connects and sends while its backend is away, and what comes after the last try."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, running, until
from core.tests.scripted import Sink, Source
from core.tests.test_queues import reader, run, writer

from penstock.errors import ConfigError, ConnectorError, NotConnected, ProduceError
from penstock.message import Record
from penstock.observability.health import Health

AWAY = NotConnected("S at s:1 is away")
BUSY = ProduceError("busy")
THREE = {"max_attempts": 3, "initial_delay": 0.05, "jitter": 0}
WHERE = "given up after 3 attempts (retry.max_attempts of the queue)"


@pytest.fixture
def stand() -> EngineFixture:
    """Queues of this test's own."""
    return EngineFixture()


def test_connecting_ends_after_the_last_attempt() -> None:
    """The error names the queue, its connector and the attempts; the waits between them grow."""
    source = Source(connect=[AWAY] * 10)

    async def main() -> None:
        started = time.monotonic()
        with pytest.raises(NotConnected, match=r"^queue 'in', ScriptedConsumer: S at s:1 is away; given up after 3 "):
            await reader(source.queue(retry=THREE)).open(60.0)
        assert time.monotonic() - started >= 0.05 + 0.1

    run(main)

    assert source.count("connect") == 3


def test_an_input_that_is_lost_ends_its_engine_after_the_last_attempt(stand: EngineFixture) -> None:
    """What it did not settle stays with the backend."""
    source = Source([b"1"], connect=[None] + [AWAY] * 10, on_success=[AWAY])
    app = stand.engine(lambda _number: None, [], source=source.queue(retry=THREE))

    with pytest.raises(ConnectorError, match=r"queue 'in'.*given up after 3 attempts"):
        drain(app)

    assert source.count("connect") == 4
    assert len(source.held) == 1


def test_calls_that_wait_together_have_their_attempts_together() -> None:
    """Eight records that are sent at once do not wait eight times as long."""
    sink = Sink(produce=[AWAY] * 8, connect=[None] + [AWAY] * 100)

    async def main() -> None:
        async with writer(sink.queue(retry=THREE)) as out:
            answers = await asyncio.gather(*(out.produce([Record(b"%d" % n)]) for n in range(8)))
            assert {str(error) for errors in answers for error in errors} == {f"S at s:1 is away; {WHERE}"}
            assert not out.connected

    run(main)

    assert sink.count("connect") == 4


@pytest.mark.parametrize("steps", [{"produce": [AWAY], "connect": [None, AWAY, AWAY, AWAY]}, {}], ids=["away", "busy"])
def test_a_queue_that_gave_records_up_sends_the_next(steps: dict[str, Any]) -> None:
    """And says that it is well again."""
    sink, health = Sink([BUSY] * 3 if not steps else (), **steps), Health()

    async def main() -> None:
        async with writer(sink.queue(retry=THREE), health=health) as out:
            [error] = await out.produce([Record(b"1")])
            assert str(error).endswith(WHERE)
            assert not health.ready()
            assert await out.produce([Record(b"2")]) == ()
            assert health.ready()

    run(main)

    assert sink.bodies == [b"2"]


def test_with_a_single_attempt_the_next_record_connects_again() -> None:
    """Else a connection that was lost once would be lost for all records that follow."""
    sink = Sink(produce=[AWAY])

    async def main() -> None:
        async with writer(sink.queue(retry={"max_attempts": 1})) as out:
            assert any(await out.produce([Record(b"1")]))
            assert await out.produce([Record(b"2")]) == ()

    run(main)

    assert (sink.count("connect"), sink.bodies) == (2, [b"2"])


def test_only_what_was_not_confirmed_is_given_up() -> None:
    """And what will never be taken has its own reason."""
    sink = Sink([ProduceError("too large", retriable=False), BUSY, None, BUSY, BUSY])

    async def main() -> None:
        async with writer(sink.queue(retry=THREE)) as out:
            errors = await out.produce([Record(b"1"), Record(b"2"), Record(b"3")])
            assert [error and str(error) for error in errors] == ["too large", f"busy; {WHERE}", None]

    run(main)

    assert sink.bodies == [b"3"]


def test_a_message_whose_output_is_given_up_is_dead_lettered(stand: EngineFixture) -> None:
    """As one whose output is refused."""
    sink = Sink([BUSY] * 3)
    app = stand.engine(lambda number: ("out", number), targets=[sink.queue(retry=THREE)], dead_letters=True)
    stand.put(b"1")

    drain(app)

    [letter] = stand.take("dead")
    assert (letter.message, sink.bodies) == (b"1", [])
    assert b"given up after 3 attempts" in (dict(letter.headers)["penstock-error-text"] or b"")


def test_a_message_is_requeued_where_its_dead_letter_is_given_up_too(stand: EngineFixture) -> None:
    """It is not tried with less of its headers, since the dead-letter queue is away, and it is not lost."""
    source, sink = Source([b"x"]), Sink([BUSY] * 3)

    async def main() -> None:
        dead = sink.queue("dead", retry=THREE)
        app = stand.engine(lambda _number: None, [], source=source.queue(), targets=[dead], dead_letters=True)
        async with running(app):
            await until(lambda: sink.bodies)

    asyncio.run(main())

    assert (sink.count("produce"), source.settled("on_fail"), sink.bodies) == (4, [b"x"], [b"x"])


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"attempts": 3}, {"jitter": 2}, 3])
def test_a_wrong_setting_is_refused(wrong: Any) -> None:
    """With its queue and its key."""
    with pytest.raises(ConfigError, match=r"'retry"):
        Source().queue(retry=wrong)
