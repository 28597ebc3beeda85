"""What a dead letter carries, and that it comes back as the message it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock.dead_letters import ERROR_HEADERS, TEXT_LENGTH, dead_letter, error_text, read
from penstock.errors import InvalidMessage, Retry
from penstock.message import ERROR_TEXT, Headers, QueueMessage, Record

NOW = datetime(2026, 3, 1, 12, 30, 15, 250_000, UTC)

HEADERS = st.lists(st.tuples(st.text().filter(lambda name: name not in ERROR_HEADERS), st.none() | st.binary()))


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    amount: int
    card: Annotated[str, Field(max_length=4)]


def letter(message: QueueMessage, error: BaseException | None = None, stage: str = "function") -> Record:
    return dead_letter(
        message,
        stage=stage,
        error=error or ValueError("no such customer"),
        attempts=3,
        queue="orders.v1",
        app="shop",
        now=NOW.timestamp(),
    )


def delivered(record: Record) -> QueueMessage:
    """The record as it arrives again."""
    return QueueMessage(None, record.message, key=record.key, headers=record.headers)


def headers(record: Record) -> dict[str, str]:
    return {name: value.decode("utf-8") for name, value in record.headers}


def test_a_dead_letter_says_what_failed_why_where_when_and_how_often() -> None:
    """All eight headers, as text."""
    message = QueueMessage(None, b"body", position="0/42")

    assert headers(letter(message)) == {
        "penstock-error-stage": "function",
        "penstock-error-type": "ValueError",
        "penstock-error-text": "no such customer",
        "penstock-attempts": "3",
        "penstock-origin-queue": "orders.v1",
        "penstock-origin-position": "0/42",
        "penstock-failed-at": "2026-03-01T12:30:15.250Z",
        "penstock-app": "shop",
    }


@settings(deadline=None)
@given(body=st.none() | st.binary(), key=st.none() | st.binary(), own=HEADERS)
def test_body_key_and_headers_are_kept_byte_for_byte(
    body: bytes | None, key: bytes | None, own: list[tuple[str, bytes]]
) -> None:
    """Whatever the message was, tombstone or not: it is all there, its headers first, in order, repeated ones too."""
    record = letter(QueueMessage(None, body, key=key, headers=own))

    assert (record.message, record.key) == (body, key)
    assert list(record.headers)[: len(own)] == own
    assert len(record.headers) == len(own) + len(ERROR_HEADERS)


@settings(deadline=None)
@given(body=st.none() | st.binary(), key=st.none() | st.binary(), own=HEADERS)
def test_what_is_read_back_for_replay_is_the_message_as_it_was(
    body: bytes | None, key: bytes | None, own: list[tuple[str, bytes]]
) -> None:
    """Replay sends body, key and headers of the original, without a trace of the failure."""
    record = read(delivered(letter(QueueMessage(None, body, key=key, headers=own)))).record

    assert (record.message, record.key, list(record.headers)) == (body, key, own)


def test_a_dead_letter_can_be_read_back() -> None:
    """Each header becomes a field, with its type."""
    dead = read(delivered(letter(QueueMessage(None, b"body", position="0/42"), stage="decode")))

    assert (dead.stage, dead.error_type, dead.error_text) == ("decode", "ValueError", "no such customer")
    assert (dead.attempts, dead.queue, dead.position, dead.app) == (3, "orders.v1", "0/42", "shop")
    assert dead.failed_at == NOW


def test_a_message_that_dies_again_tells_its_last_death_only() -> None:
    """Dead letters do not grow: what an earlier one said is replaced, the message's own headers stay."""
    first = letter(QueueMessage(None, b"body", headers=[("trace", b"1")]), ValueError("first"))

    second = letter(delivered(first), KeyError("second"), stage="output")

    assert len(second.headers) == len(first.headers)
    assert second.headers[0] == ("trace", b"1")
    assert headers(second)["penstock-error-type"] == "KeyError"


def test_the_message_itself_is_not_touched() -> None:
    """The input is still there to be requeued if the dead-letter queue is away."""
    own: Headers = [("trace", b"1")]
    message = QueueMessage(None, b"body", headers=own)

    letter(message)

    assert message.headers == [("trace", b"1")]


@pytest.mark.parametrize("text", ["a\r\nb", "a\x00\x1bb", "a\udcffb", "a\u2028b"])
def test_no_text_breaks_a_header(text: str) -> None:
    """Line breaks, control characters and lone surrogates become blanks: some backends refuse them."""
    said = headers(letter(QueueMessage(None, b"", position=text), ValueError(text)))

    assert said["penstock-error-text"].split() == ["a", "b"]
    assert said["penstock-error-text"].isprintable()
    assert said["penstock-origin-position"].isprintable()


def test_a_long_text_is_cut() -> None:
    """A thousand characters tell enough, and backends limit headers."""
    assert error_text(ValueError("é" * 100_000)) == "é" * TEXT_LENGTH


def test_an_error_that_cannot_show_itself_still_makes_a_dead_letter() -> None:
    """A broken `__str__` in the user's exception must not lose the message."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    said = headers(letter(QueueMessage(None, b"body"), Broken()))

    assert said["penstock-error-type"] == "Broken"
    assert said["penstock-error-text"] == "(this error cannot be shown as text)"


def test_a_retry_that_used_up_its_attempts_gives_its_reason() -> None:
    """`Retry` tells why it asked for later."""
    assert error_text(Retry(5, reason="the customer is locked")) == "the customer is locked"


def invalid(model: type[BaseModel], data: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return caught.value


def test_a_validation_error_tells_places_and_rules_without_values() -> None:
    """The card number in the message is nowhere in the text, nor is a link."""
    text = error_text(invalid(Order, {"amount": "4929-1234", "card": "4929-1234-5678"}))

    assert "4929" not in text
    assert "http" not in text
    assert text == (
        "amount: Input should be a valid integer, unable to parse string as an integer; "
        "card: String should have at most 4 characters"
    )


def test_a_validation_error_inside_ours_is_told_as_carefully() -> None:
    """An `InvalidMessage` whose author copied pydantic's text does not carry the values into the header."""
    cause = invalid(Order, {"amount": "4929-1234", "card": "1"})
    error = InvalidMessage(str(cause))
    error.__cause__ = cause

    assert "4929" in str(error)
    assert "4929" not in error_text(error)


def test_a_function_that_wraps_a_validation_error_keeps_its_own_words() -> None:
    """Only our errors about the message are opened; a user's exception says what its author wrote."""
    error = RuntimeError("the partner's answer makes no sense")
    error.__cause__ = invalid(Order, {})

    assert error_text(error) == "the partner's answer makes no sense"


def test_an_unknown_tag_is_not_quoted() -> None:
    """Of all pydantic's texts this one repeats the input; ours does not."""

    class Card(BaseModel):
        kind: Literal["card"]

    class Cash(BaseModel):
        kind: Literal["cash"]

    class Payment(BaseModel):
        by: Annotated[Card | Cash, Field(discriminator="kind")]

    error = invalid(Payment, {"by": {"kind": "4929-1234"}})

    assert "4929" in error.errors()[0]["msg"]
    assert error_text(error) == "by: unknown tag"


def test_anything_else_in_the_queue_reads_as_an_unknown_death() -> None:
    """A record that something else put there has empty fields, and can be replayed as it is."""
    dead = read(QueueMessage(None, b"body", key=b"k", headers=[("h", b"v")]))

    assert (dead.stage, dead.error_type, dead.attempts, dead.failed_at) == ("", "", 0, None)
    assert (dead.record.message, dead.record.key, dead.record.headers) == (b"body", b"k", [("h", b"v")])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(ERROR_HEADERS)), st.binary() | st.text().map(str.encode))))
def test_reading_survives_any_header(own: list[tuple[str, bytes]]) -> None:
    """Any program that writes to the queue can write nonsense; a list of dead letters shows it and goes on."""
    dead = read(QueueMessage(None, b"body", headers=own))

    assert dead.record.headers == []
    assert dead.failed_at is None or dead.failed_at.tzinfo is not None


@pytest.mark.parametrize("text", ["", "-1", "1.5", "many", "²", "9" * 5000])
def test_attempts_that_are_no_number_read_as_unknown(text: str) -> None:
    """Also a number so long that Python would refuse to read it."""
    assert read(QueueMessage(None, b"", headers=[("penstock-attempts", text.encode())])).attempts == 0


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-01T12:30:15.250Z", NOW),
        ("2026-03-01T14:30:15.250+02:00", NOW),
        ("2026-03-01T12:30:15.250", NOW),  # without a zone: ours is UTC
        ("yesterday", None),
        ("2026-13-01T00:00:00Z", None),
    ],
)
def test_times_have_a_zone_or_are_unknown(text: str, time: datetime | None) -> None:
    """Any tool may have written the header; a time is only shown if it is one."""
    failed_at = read(QueueMessage(None, b"", headers=[("penstock-failed-at", text.encode())])).failed_at

    assert failed_at == time
    assert failed_at is None or failed_at.utcoffset() is not None
    assert failed_at is None or abs(failed_at - NOW) < timedelta(seconds=1)


def test_the_text_has_the_documented_header_name() -> None:
    """The names are a wire format: other programs read them."""
    assert sorted(ERROR_HEADERS) == [
        "penstock-app",
        "penstock-attempts",
        "penstock-error-stage",
        "penstock-error-text",
        "penstock-error-type",
        "penstock-failed-at",
        "penstock-origin-position",
        "penstock-origin-queue",
    ]
    assert ERROR_TEXT in ERROR_HEADERS
