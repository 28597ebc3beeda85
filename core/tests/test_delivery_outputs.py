"""Outputs and dead letters that are refused or whose queue is away; an input is settled after all its outputs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, echo, for_a_while, running, until
from core.tests.scripted import Sink, Source

from penstock.dead_letters import read
from penstock.errors import (
    DecodeError,
    NotConnected,
    PenstockError,
    ProduceError,
    Retry,
)
from penstock.message import QueueMessage

# -- an output that is refused, or away


def test_an_input_is_not_settled_while_its_output_is_refused_for_now(stand: EngineFixture) -> None:
    """Refused with a retriable error: sent again with backoff until it is confirmed, only then settled."""
    source, sink = Source([b"1", b"2"]), Sink([ProduceError("the queue is full")] * 5)

    def settled_too_early() -> bool:
        return len(source.settled()) > len(sink.stored)

    async def main() -> None:
        async with running(stand.engine(echo, source=source.queue(), targets=[sink.queue()])) as run:
            await until(lambda: sink.count("produce") >= 2)
            assert not settled_too_early()
            status = run.worker.health.report()
            assert not status["ready"]
            assert "the queue is full" in str(status["components"])
            await until(lambda: len(source.settled()) == 2)
            await until(run.worker.health.ready)

    asyncio.run(main())

    assert sorted(sink.bodies) == [b"1", b"2"]
    assert not settled_too_early()


def test_only_the_records_that_were_refused_are_sent_again(stand: EngineFixture) -> None:
    """What is confirmed is confirmed."""
    source, sink = Source([b"1", b"2", b"3"]), Sink([None, ProduceError("busy"), None])

    drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()]))

    assert sink.bodies == [b"1", b"3", b"2"]
    assert sorted(source.settled()) == [b"1", b"2", b"3"]


def test_a_full_output_holds_the_input_back_and_then_everything_arrives(stand: EngineFixture) -> None:
    """Back-pressure: while an output blocks, no more than max_in_flight is fetched; later all is delivered."""
    count, limit = 200, 20
    source, sink = Source([b"%d" % n for n in range(count)]), Sink()
    sink.open.clear()

    async def main() -> None:
        engine = stand.engine(echo, source=source.queue(), targets=[sink.queue()], max_in_flight=limit)
        async with running(engine):
            await until(lambda: len(source.held) == limit)
            await for_a_while(0.4, lambda: len(source.held) > limit or source.settled())
            sink.open.set()
            await until(lambda: len(source.settled()) == count)

    asyncio.run(main())

    assert sorted(sink.bodies) == sorted(b"%d" % n for n in range(count))
    assert max(source.asked) <= limit


def test_an_output_that_is_refused_for_good_is_dead_lettered_at_once(stand: EngineFixture) -> None:
    """Sending it again is useless; its neighbours are delivered."""
    source, sink = Source([b"1", b"2", b"3"]), Sink([None, ProduceError("too large", retriable=False)])

    drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()], dead_letters=True))

    said = read(stand.take("dead")[0])
    assert (said.record.message, said.stage, said.error_type, said.error_text) == (
        b"2",
        "produce",
        "ProduceError",
        "too large",
    )
    assert sink.bodies == [b"1", b"3"]
    assert sorted(source.settled()) == [b"1", b"2", b"3"]


def test_a_message_with_two_refused_outputs_is_dead_lettered_once(stand: EngineFixture) -> None:
    """One input, one dead letter."""
    sink = Sink([ProduceError("no", retriable=False), ProduceError("no", retriable=False)])
    stand.numbers(1)

    drain(
        stand.engine(lambda _: [("out", 1), ("out", 2)], targets=[sink.queue()], dead_letters=True),
    )

    assert stand.bodies("dead") == [b"0"]


def test_a_refused_output_of_a_batch_function_dead_letters_the_whole_batch(stand: EngineFixture) -> None:
    """It is not known which input the output belongs to."""
    sink = Sink([None, ProduceError("no", retriable=False)])
    stand.numbers(3)

    drain(
        stand.engine(
            lambda numbers: [("out", number) for number in numbers],
            source=stand.memory("in", batch=True),
            targets=[sink.queue()],
            dead_letters=True,
        )
    )

    assert sorted(stand.bodies("dead")) == [b"0", b"1", b"2"]


def test_a_refused_output_without_a_dead_letter_queue_ends_a_drain(stand: EngineFixture) -> None:
    """And leaves the message where it is."""
    sink = Sink([ProduceError("too large", retriable=False)])
    stand.numbers(1)

    with pytest.raises(PenstockError, match=r"message at 1: too large\. It stays in its queue\."):
        drain(stand.engine(echo, targets=[sink.queue()]))

    assert stand.bodies("in") == [b"0"]


# -- the dead-letter queue is away, or refuses


@pytest.mark.parametrize("how", ["refuses", "is away"])
def test_an_input_is_left_while_the_dead_letter_queue_is_away(stand: EngineFixture, how: str) -> None:
    """Not settled until its dead letter is confirmed; meanwhile others go on."""
    source = Source([b"1", b"bad", b"2"])
    away = NotConnected("the broker is away", retry_after=0.05)
    dead = Sink([ProduceError("busy")] * 2) if how == "refuses" else Sink(produce=[away], connect=[None, away, away])

    async def main() -> None:
        engine = stand.engine(echo, source=source.queue(), targets=[dead.queue("dead")], dead_letters=True)
        async with running(engine):
            await until(lambda: len(source.settled()) == 2)
            if not dead.stored:
                assert sorted(source.settled()) == [b"1", b"2"]
            await until(lambda: len(source.settled()) == 3)

    asyncio.run(main())

    assert dead.bodies == [b"bad"]
    assert sorted(source.settled()) == [b"1", b"2", b"bad"]


def test_a_message_that_even_the_dead_letter_queue_refuses_is_requeued(
    stand: EngineFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """With all its reasons, with few, and with none: nothing is lost, and each failure is reported."""
    source, dead = Source([b"bad"]), Sink([ProduceError("too large", retriable=False)] * 3)

    async def main() -> None:
        engine = stand.engine(echo, source=source.queue(), targets=[dead.queue("dead")], dead_letters=True)
        async with running(engine):
            await until(lambda: dead.stored)
            await until(source.settled)

    asyncio.run(main())

    assert source.settled("on_fail") == [b"bad"]
    assert "can be neither processed nor dead-lettered and stay in their queue, the first at 0" in caplog.text


def test_a_drain_ends_when_even_the_dead_letter_queue_refuses(stand: EngineFixture) -> None:
    """It would never be empty."""
    source, dead = Source([b"bad"]), Sink([ProduceError("too large", retriable=False)] * 1_000)

    with pytest.raises(DecodeError) as caught:
        drain(stand.engine(echo, source=source.queue(), targets=[dead.queue("dead")], dead_letters=True))

    assert str(caught.value).startswith(
        "engine 'penstock', queue 'in', ScriptedConsumer, message at 0: the body is not"
    )
    assert str(caught.value).endswith(". It stays in its queue. Its dead letter is refused too: too large")

    assert source.settled() == []


# -- settled once, after all outputs


@pytest.mark.parametrize("form", ["sync", "async"])
def test_an_input_is_settled_once_all_its_outputs_are_confirmed(stand: EngineFixture, form: str) -> None:
    """Two output queues, one of them slow: nothing is settled before both have answered."""
    source, fast, slow = Source([b"1", b"2"]), Sink(), Sink()
    slow.open.clear()

    def both(number: int) -> Any:
        return [("fast", number), ("slow", number)]

    async def both_async(number: int) -> Any:
        return both(number)

    async def main() -> None:
        engine = stand.engine(
            both if form == "sync" else both_async,
            ["fast", "slow"],
            source=source.queue(),
            targets=[fast.queue("fast"), slow.queue("slow")],
        )
        async with running(engine):
            await until(lambda: len(fast.stored) == 2)
            await for_a_while(0.1, source.settled)
            slow.open.set()
            await until(lambda: len(source.settled()) == 2)

    asyncio.run(main())

    assert sorted(slow.bodies) == [b"1", b"2"]


def test_each_message_is_settled_exactly_once_whatever_becomes_of_it(stand: EngineFixture) -> None:
    """Done, dead-lettered, requeued: each delivery gets one settlement, in one way."""
    count = 500
    source, dead = Source([b"%d" % n for n in range(count)]), Sink()
    sink = Sink([ProduceError("busy") if n % 7 == 0 else None for n in range(300)])

    def function(number: int, msg_ctx: QueueMessage) -> Any:
        if number % 10 == 3:
            raise LookupError("never")
        if number % 10 == 4 and msg_ctx.attempts == 1:
            return False
        if number % 10 == 5 and msg_ctx.attempts == 1:
            raise Retry(0.01)
        return "out", number

    drain(
        stand.engine(
            function,
            source=source.queue(),
            targets=[sink.queue(), dead.queue("dead")],
            dead_letters=True,
            concurrency=3,
        )
    )

    assert sorted(source.settled()) == sorted(b"%d" % n for n in range(count))
    assert sorted(source.settled("on_fail")) == sorted(b"%d" % n for n in range(count) if n % 10 in (4, 5))
    assert sorted(dead.bodies) == sorted(b"%d" % n for n in range(count) if n % 10 == 3)
    assert sorted(sink.bodies) == sorted(b"%d" % n for n in range(count) if n % 10 != 3)
    assert not source.held
