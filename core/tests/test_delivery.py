"""What happens to a message when something goes wrong, row by row; an input settles once, after its outputs."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, for_a_while, running, until, warnings_in
from core.tests.scripted import BareConsumer, BareProducer, Sink, Source
from pydantic import BaseModel

from penstock.dead_letters import read
from penstock.errors import (
    ConnectorError,
    DecodeError,
    FunctionError,
    InvalidMessage,
    NotConnected,
    PenstockError,
    ProduceError,
    Retry,
)
from penstock.message import QueueMessage, Record

SECRET = "tiger-7731"  # stands in bodies, and must never reach an error or a log


class Order(BaseModel):
    """What a valid body is."""

    amount: int


@pytest.fixture
def stand() -> EngineFixture:
    """Queues of the test's own."""
    return EngineFixture()


def echo(message: Any) -> Any:
    return "out", message


# -- a body that is not a message


BAD_BODIES = {
    "no JSON": (b'{"amount": ' + SECRET.encode(), "decode", "DecodeError", "the body is not valid json: "),
    "empty": (b"", "decode", "DecodeError", "the body is empty"),
    "tombstone": (None, "decode", "DecodeError", "the message is a tombstone: it has no body"),
    "no UTF-8": (b'"\xff"', "decode", "DecodeError", "the body is not valid json: "),
    "another shape": (
        b'{"amount": "%s"}' % SECRET.encode(),
        "validate",
        "InvalidMessage",
        "the message does not fit Order: amount: Input should be a valid integer",
    ),
}


@pytest.mark.parametrize("bad", BAD_BODIES)
def test_an_invalid_message_is_dead_lettered_byte_for_byte_with_the_reason(stand: EngineFixture, bad: str) -> None:
    """Body, key and headers as they were, and headers that say stage, error, attempts, origin, time and app."""
    body, stage, kind, text = BAD_BODIES[bad]
    headers = [("trace", b"\x00\xff"), ("a", b""), ("a", b"2")]
    stand.put(b'{"amount": 1}', Record(body, b"\xff key", headers), b'{"amount": 2}')

    drain(stand.engine(echo, source=stand.memory("in", data_model=Order), dead_letters=True, app_name="till"))

    [letter] = stand.take("dead")
    assert (letter.message, letter.key, list(letter.headers)[:3]) == (body, b"\xff key", headers)
    said = read(letter)
    assert (said.stage, said.error_type, said.attempts) == (stage, kind, 1)
    if stage == "decode":
        assert said.error_text.startswith(text)
    assert (said.queue, said.position, said.app) == ("in", "2", "till")
    assert said.failed_at is not None
    assert abs(said.failed_at.timestamp() - time.time()) < 60
    assert (said.record.message, said.record.key, list(said.record.headers)) == (body, b"\xff key", headers)
    assert [name for name, _ in letter.headers[3:]] == [
        "penstock-error-stage",
        "penstock-error-type",
        "penstock-error-text",
        "penstock-attempts",
        "penstock-origin-queue",
        "penstock-origin-position",
        "penstock-failed-at",
        "penstock-app",
    ]
    assert SECRET not in said.error_text
    assert stand.bodies() == [b'{"amount":1}', b'{"amount":2}']
    assert stand.take("in") == []


@pytest.mark.parametrize("bad", BAD_BODIES)
def test_an_invalid_message_without_a_dead_letter_queue_stops_the_engine(stand: EngineFixture, bad: str) -> None:
    """Never skipped in silence: the error says where and what to do, the message stays, the others are settled."""
    body, _stage, kind, text = BAD_BODIES[bad]
    stand.put(b'{"amount": 1}', body, b'{"amount": 2}')

    with pytest.raises(PenstockError) as caught:
        drain(stand.engine(echo, source=stand.memory("in", data_model=Order), app_name="till"))

    assert type(caught.value) is {"DecodeError": DecodeError, "InvalidMessage": InvalidMessage}[kind]
    said = str(caught.value)
    assert said.startswith(f"engine 'till', queue 'in', memory, message at 2: {text}")
    assert said.endswith(
        ". It stays in its queue. Give the engine a dead_letter_queue; or set on_invalid: skip to pass over such "
        "messages"
    )
    assert SECRET not in said
    assert stand.bodies("in") == [body]
    assert stand.bodies() == [b'{"amount":1}', b'{"amount":2}']


def test_on_invalid_skip_settles_and_logs(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """Because the configuration says so; one line, not one a message, and none with a body."""
    stand.put(b"1", *[SECRET.encode()] * 50, b"2")

    drain(stand.engine(echo, on_invalid="skip"))

    assert (stand.bodies(), stand.bodies("in")) == ([b"1", b"2"], [])
    lines = warnings_in(caplog.records)
    assert "failed at decode, the first at 2 of queue 'in', memory" in lines[0]
    assert len(lines) <= 2
    assert sum(int(line.split(": ")[1].split()[0]) for line in lines) == 50
    assert all(line.endswith("skipped, as on_invalid says") for line in lines)
    assert SECRET not in caplog.text


def test_a_dead_letter_queue_comes_before_on_invalid_skip(stand: EngineFixture) -> None:
    """Where a message can be kept, it is kept."""
    stand.put(b"bad")

    drain(stand.engine(echo, on_invalid="skip", dead_letters=True))

    assert stand.bodies("dead") == [b"bad"]


def test_a_dead_letter_for_a_backend_without_headers_can_be_read_back(stand: EngineFixture) -> None:
    """An envelope carries key, headers and the reasons."""
    dead = Sink()
    stand.put(Record(b"bad \xff", b"k", [("h", b"v")]))

    drain(stand.engine(echo, targets=[dead.queue("dead", producer=BareProducer)], dead_letters=True))

    from penstock.envelope import unwrap

    [record] = dead.stored
    assert record.message is not None
    opened = unwrap(record.message)
    assert opened is not None
    said = read(QueueMessage(None, *opened))
    assert (said.record.message, said.record.key, list(said.record.headers)) == (b"bad \xff", b"k", [("h", b"v")])
    assert said.stage == "decode"


# -- a function that raises


def test_a_function_that_raises_is_tried_again_and_sees_its_attempts(stand: EngineFixture) -> None:
    """Bounded, with others going on in between."""
    seen: list[tuple[int, int]] = []

    def function(number: int, msg_ctx: QueueMessage) -> Any:
        seen.append((number, msg_ctx.attempts))
        if number == 1 and msg_ctx.attempts < 3:
            raise LookupError("not yet")
        return "out", number

    stand.numbers(3)

    drain(stand.engine(function))

    assert sorted(seen) == [(0, 1), (1, 1), (1, 2), (1, 3), (2, 1)]
    assert stand.bodies() == [b"0", b"2", b"1"]
    assert stand.bodies("in") == []


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_function_that_raises_to_the_end_is_dead_lettered(
    stand: EngineFixture, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After max_attempts, with the exception's class and text; the log has the way into the user's code."""

    def sync(order: dict[str, int]) -> Any:
        if order["amount"] == 2:
            raise LookupError("no such customer")
        return "out", order["amount"]

    async def asynchronous(order: dict[str, int]) -> Any:
        return sync(order)

    stand.put(b'{"amount": 1}', Record(b'{"amount":  2}', b"k", [("h", b"v")]), b'{"amount": 3}')

    drain(stand.engine(sync if form == "sync" else asynchronous, dead_letters=True))

    [letter] = stand.take("dead")
    said = read(letter)
    assert (letter.message, letter.key, letter.headers[0]) == (b'{"amount":  2}', b"k", ("h", b"v"))
    assert (said.stage, said.error_type, said.error_text, said.attempts) == (
        "function",
        "LookupError",
        "no such customer",
        3,
    )
    assert stand.bodies() == [b"1", b"3"]
    assert 'raise LookupError("no such customer")' in caplog.text


def test_a_failed_batch_function_is_tried_again_with_all_its_messages(stand: EngineFixture) -> None:
    """It cannot be told which message it was: all are tried again, then all are dead-lettered."""
    calls: list[list[int]] = []

    def function(numbers: list[int]) -> None:
        calls.append(numbers)
        raise LookupError("one of them")

    stand.numbers(3)

    drain(stand.engine(function, source=stand.memory("in", batch=True), dead_letters=True))

    assert calls == [[0, 1, 2]] * 3
    assert stand.bodies("dead") == [b"0", b"1", b"2"]


def test_without_a_dead_letter_queue_a_failed_message_is_requeued(stand: EngineFixture) -> None:
    """It stays in its queue and comes again, for as long as it takes; others go on."""
    mended = threading.Event()
    source = Source([b"0", b"1", b"2"])
    done: list[int] = []
    failed: list[int] = []

    def function(number: int) -> None:
        if number == 1 and not mended.is_set():
            failed.append(number)
            raise LookupError("broken")
        done.append(number)

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue())):
            await until(lambda: source.count("on_fail") >= 3)
            assert sorted(done) == [0, 2]
            mended.set()
            await until(lambda: len(done) == 3)

    asyncio.run(main())

    assert done[2] == 1
    assert source.settled("on_fail") == [b"1"] * source.count("on_fail")
    assert len(failed) == 3 + source.count("on_fail") - 1  # from the third delivery on there is one try a delivery
    assert sorted(source.settled()) == [b"0", b"1", b"2"]


def test_a_drain_without_a_dead_letter_queue_ends_with_the_error(stand: EngineFixture) -> None:
    """A message requeued for ever would keep a queue from ever being empty."""
    stand.numbers(3)

    def function(number: int) -> None:
        if number == 1:
            raise LookupError("broken")

    with pytest.raises(PenstockError) as caught:
        drain(stand.engine(function, app_name="till"))

    assert str(caught.value) == (
        "engine 'till', queue 'in', memory, message at 2: LookupError: broken. It stays in its queue. Give the engine "
        "a dead_letter_queue; it was tried 3 times"
    )
    assert stand.bodies("in") == [b"1"]


def test_retry_gives_the_message_back_for_that_long(stand: EngineFixture) -> None:
    """Retry(delay): requeued with its count raised, not before its time."""
    calls: list[tuple[int, float]] = []

    def function(number: int, msg_ctx: QueueMessage) -> Any:
        calls.append((msg_ctx.attempts, time.monotonic()))
        if msg_ctx.attempts == 1:
            raise Retry(0.3)
        return "out", number

    stand.numbers(1)

    drain(stand.engine(function))

    assert [attempts for attempts, _ in calls] == [1, 2]
    assert calls[1][1] - calls[0][1] >= 0.3
    assert stand.bodies() == [b"0"]


def test_retry_is_bounded_too(stand: EngineFixture) -> None:
    """Up to max_attempts, then the dead-letter queue, with the reason that was given."""
    attempts: list[int] = []

    def function(number: int, msg_ctx: QueueMessage) -> None:
        attempts.append(msg_ctx.attempts)
        raise Retry(0, reason="the rate is exceeded")

    stand.numbers(1)

    drain(stand.engine(function, dead_letters=True))

    said = read(stand.take("dead")[0])
    assert attempts == [1, 2, 3]
    assert (said.error_type, said.error_text, said.attempts) == ("Retry", "the rate is exceeded", 3)


def test_retry_waits_itself_where_the_connector_cannot_delay(stand: EngineFixture) -> None:
    """The message is held back here, not requeued at once in a hot loop."""
    source = Source([b"0"])
    calls: list[float] = []

    def function(number: int, msg_ctx: QueueMessage) -> None:
        calls.append(time.monotonic())
        if len(calls) < 3:
            raise Retry(0.2)

    drain(stand.engine(function, [], source=source.queue(consumer=BareConsumer)))

    assert calls[1] - calls[0] >= 0.2
    assert calls[2] - calls[1] >= 0.2


def test_a_message_that_was_delivered_too_often_is_dead_lettered_unseen(stand: EngineFixture) -> None:
    """Something in it may be killing the worker."""
    seen: list[int] = []
    source = Source([QueueMessage(0, b"0", attempts=21, position="0"), b"1"])

    drain(stand.engine(seen.append, [], source=source.queue(), dead_letters=True))

    assert seen == [1]
    assert read(stand.take("dead")[0]).stage == "delivery"


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


# -- connectors with bugs


class Bug(Exception):
    """What an author did not expect."""


@pytest.mark.parametrize("answers", [1, 3], ids=["too few", "too many"])
def test_a_producer_with_the_wrong_number_of_results_stops_the_engine(stand: EngineFixture, answers: int) -> None:
    """What is confirmed cannot be known, so nothing is settled; the error names the class."""
    source, sink = Source([b"1", b"2"]), Sink()

    class Miscounting(BareProducer):
        async def produce(self, records: Any) -> Any:
            await super().produce(records)
            return [None] * answers

    with pytest.raises(ConnectorError) as caught:
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue(producer=Miscounting)]))

    assert str(caught.value) == (
        f"queue 'out', Miscounting: the producer answered {answers} results for 2 records; "
        f"this is a bug of {Miscounting.__module__}.{Miscounting.__qualname__}"
    )
    assert source.settled() == []


def test_a_producer_that_miscounts_what_is_sent_again_stops_the_engine(stand: EngineFixture) -> None:
    """The second answer is looked at like the first."""
    source, sink = Source([b"1", b"2"]), Sink([ProduceError("busy")] * 2)

    class Miscounting(BareProducer):
        async def produce(self, records: Any) -> Any:
            return (await super().produce(records))[: None if sink.count("produce") == 1 else 1]

    with pytest.raises(ConnectorError, match="the producer answered 1 results for 2 records; this is a bug of"):
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue(producer=Miscounting)]))

    assert source.settled() == []


@pytest.mark.parametrize("answer", [None, True, [True, True], ["no", "no"]], ids=repr)
def test_a_producer_that_answers_something_else_stops_the_engine(stand: EngineFixture, answer: Any) -> None:
    """None or a ProduceError a record, and nothing else, is an answer."""
    source, sink = Source([b"1", b"2"]), Sink()

    class Odd(BareProducer):
        async def produce(self, records: Any) -> Any:
            del records
            return answer

    with pytest.raises(ConnectorError, match=r"^queue 'out', Odd: the producer answered .*; this is a bug of .*Odd$"):
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue(producer=Odd)]))

    assert source.settled() == []


@pytest.mark.parametrize("method", ["connect", "consume", "on_success", "lag"])
def test_a_bug_in_a_consumer_stops_the_engine_and_is_named(stand: EngineFixture, method: str) -> None:
    """Any exception that is not a word of the contract: the engine stops, says whose it is, and leaves the messages."""
    source = Source([b"1"], **{method: [Bug("oops")]})

    with pytest.raises(ConnectorError) as caught:
        drain(stand.engine(echo, source=source.queue()))

    assert str(caught.value) == (
        f"queue 'in', ScriptedConsumer: {method} raised Bug: oops; this is a bug of "
        f"core.tests.scripted.ScriptedConsumer, or a case that it does not know"
    )
    assert isinstance(caught.value.__cause__, Bug)
    assert source.count("shutdown") == 1
    assert source.held | set(source.visible) or method == "lag"


def test_a_bug_in_requeueing_stops_the_engine_and_is_named(stand: EngineFixture) -> None:
    """on_fail like the others."""
    source = Source([b"1"], on_fail=[Bug("oops")])

    with pytest.raises(ConnectorError, match=r"on_fail raised Bug: oops"):
        drain(stand.engine(lambda _: False, source=source.queue()))

    assert source.count("shutdown") == 1


@pytest.mark.parametrize("method", ["connect", "produce"])
def test_a_bug_in_a_producer_stops_the_engine_and_is_named(stand: EngineFixture, method: str) -> None:
    """And nothing is settled that was not confirmed."""
    source, sink = Source([b"1"]), Sink(**{method: [Bug("oops")]})

    with pytest.raises(
        ConnectorError, match=rf"^queue 'out', ScriptedProducer: {method} raised Bug: oops; this is a bug"
    ):
        drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()]))

    assert (source.settled(), source.count("shutdown"), sink.count("shutdown")) == ([], 1, 1)


@pytest.mark.parametrize("side", ["consumer", "producer"])
def test_a_bug_in_shutdown_is_logged_and_the_other_queues_are_closed(
    stand: EngineFixture, side: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The work is done by then; the next queue is not to pay for it."""
    bug = [Bug("oops")]
    source, sink = (
        (Source([b"1"], shutdown=bug), Sink()) if side == "consumer" else (Source([b"1"]), Sink(shutdown=bug))
    )

    drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()]))

    assert (source.settled(), source.count("shutdown"), sink.count("shutdown")) == ([b"1"], 1, 1)
    assert "did not close cleanly: shutdown raised Bug: oops" in caplog.text


def test_one_output_that_fails_for_good_lets_the_other_finish_before_it_is_closed(stand: EngineFixture) -> None:
    """No producer is shut down while a produce is under way."""
    source, broken, slow = Source([b"1"]), Sink(produce=[Bug("oops")]), Sink()
    slow.open.clear()

    class Strict(BareProducer):
        async def produce(self, records: Any) -> Any:
            answers = await super().produce(records)
            slow.calls.append(("produced", None))
            return answers

    async def main() -> None:
        engine = stand.engine(
            lambda _: [("broken", 1), ("slow", 1)],
            ["broken", "slow"],
            source=source.queue(),
            targets=[broken.queue("broken"), slow.queue("slow", producer=Strict)],
        )
        async with running(engine) as run:
            await until(lambda: slow.count("produce"))
            await for_a_while(0.1, lambda: slow.count("shutdown"))
            slow.open.set()
            with pytest.raises(ConnectorError, match="oops"):
                await run.ended()

    asyncio.run(main())

    assert [name for name, _ in slow.calls] == ["connect", "produce", "produced", "shutdown"]
    assert source.settled() == []


# -- the log


FATES = ("trying again", "to the dead-letter queue")


def test_each_kind_of_failure_is_told_by_itself(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """Also of messages that travelled together, and to the same end."""

    def function(number: int) -> None:
        raise KeyError(number) if number else ValueError("none")

    stand.put(b"{bad", b"0", b"1", b"2")
    drain(stand.engine(function, [], dead_letters=True, retry={"max_attempts": 1}))

    lines = warnings_in(caplog.records)
    assert len(lines) == 3
    assert "1 message failed at decode, the first at 1 " in lines[0]
    assert "1 message failed at function, the first at 2 of queue 'in', memory, attempt 1: ValueError: none" in lines[1]
    assert "2 messages failed at function, the first at 3 of queue 'in', memory, attempt 1: KeyError: 1;" in lines[2]
    assert caplog.text.count("Traceback") == 2


def test_the_last_line_about_a_message_says_what_became_of_it(
    stand: EngineFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of an earlier try is told after its end."""

    def function(number: int) -> None:
        raise ValueError("no")

    stand.numbers(1)
    drain(stand.engine(function, [], dead_letters=True))

    lines = warnings_in(caplog.records)
    assert "attempt 1: ValueError: no; trying again in 0.0 s" in lines[0]
    assert "attempt 3: ValueError: no; to the dead-letter queue" in lines[-1]
    assert len(lines) == 2


def test_a_thousand_failures_are_few_lines_that_count_all(
    stand: EngineFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """A line a kind and a second, not a line a message, no end of a message forgotten, and never a body."""
    stand.put(*[b'{"card": "%s"}' % SECRET.encode()] * 1_000)

    def function(order: Any) -> None:
        raise FunctionError("nothing works")

    drain(stand.engine(function, dead_letters=True))

    assert len(stand.take("dead")) == 1_000
    lines = warnings_in(caplog.records)
    assert len(lines) <= 6
    told = {fate: sum(int(line.split(": ")[1].split()[0]) for line in lines if fate in line) for fate in FATES}
    # What is tried again comes to one of these ends, or to success.
    assert 0 < told["trying again"] <= 2_000
    assert told["to the dead-letter queue"] == 1_000
    assert SECRET not in caplog.text
