"""What happens to a message when something goes wrong, row by row; an input settles once, after its outputs."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, echo, running, until, warnings_in
from core.tests.scripted import BareConsumer, BareProducer, Sink, Source
from pydantic import BaseModel

from penstock.dead_letters import read
from penstock.errors import (
    DecodeError,
    FunctionError,
    InvalidMessage,
    PenstockError,
    Retry,
)
from penstock.message import QueueMessage, Record

SECRET = "tiger-7731"  # stands in bodies, and must never reach an error or a log


class Order(BaseModel):
    """What a valid body is."""

    amount: int


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


def test_a_dead_letter_queue_may_have_a_serializer(stand: EngineFixture) -> None:
    """Dead letters pass it by: they are the bytes that came."""
    stand.put(b"bad \xff")

    drain(stand.engine(echo, targets=[stand.memory("dead")], dead_letters=True))

    assert stand.bodies("dead") == [b"bad \xff"]


def test_a_function_may_send_to_the_dead_letter_queue_itself(stand: EngineFixture) -> None:
    """As to any output queue; the message is done."""
    stand.numbers(1)

    drain(stand.engine(lambda _: [("dead", b"bytes")], dead_letters=True))

    assert (stand.bodies("dead"), stand.bodies("in")) == ([b"bytes"], [])


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
