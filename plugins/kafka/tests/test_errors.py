"""The table of Kafka's error codes."""

from __future__ import annotations

from collections import Counter

import pytest
from confluent_kafka import KafkaError

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_kafka import errors
from penstock_kafka.errors import KINDS, Kind, connector_error, describe, kind_of, produce_error

CODES = {
    name: code for name in dir(KafkaError) if name.isupper() and isinstance(code := getattr(KafkaError, name), int)
}


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_code_of_the_client_has_a_row(name: str) -> None:
    """A client that learns a new code fails here, until a row says what it means."""
    assert name in KINDS
    assert kind_of(KafkaError(CODES[name])) is KINDS[name]


def test_no_code_has_two_rows() -> None:
    """One meaning for one code."""
    rows = Counter(f"{errors._RETRIABLE} {errors._REFUSED} {errors._FATAL}".split())

    assert [name for name, times in rows.items() if times > 1] == []
    assert set(rows) == set(KINDS)


def test_every_remedy_belongs_to_a_code() -> None:
    """No advice for an error that does not exist."""
    assert set(errors._REMEDIES) <= set(CODES)


def test_an_error_that_the_client_calls_fatal_is_fatal() -> None:
    """Whatever its code says otherwise."""
    assert kind_of(KafkaError(KafkaError._TRANSPORT, fatal=True)) is Kind.FATAL


def test_an_unknown_code_is_retriable() -> None:
    """Nothing is dropped for being unknown."""
    assert kind_of(KafkaError(29_999)) is Kind.RETRIABLE


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TRANSPORT, NotConnected),
        (KafkaError.COORDINATOR_NOT_AVAILABLE, NotConnected),
        (KafkaError._AUTHENTICATION, FatalConnectorError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, FatalConnectorError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, ConnectorError),
    ],
)
def test_an_error_of_a_connection_steers_the_engine(code: int, kind: type[ConnectorError]) -> None:
    """Away: connect again. Not accepted: stop. A topic that is not there: stop this queue."""
    assert type(connector_error(KafkaError(code), "Kafka at x")) is kind


def test_an_error_says_what_where_and_what_to_do() -> None:
    """In this order, with the code's name for those who search for it."""
    text = str(connector_error(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), "Kafka at host:9092: topic 'orders'"))

    assert text.startswith("Kafka at host:9092: topic 'orders': ")
    assert "(UNKNOWN_TOPIC_OR_PART)" in text
    assert text.endswith("create the topic, or correct the queue's 'value'")


def test_a_record_is_sent_again_only_if_that_can_help() -> None:
    """Too large stays too large; a broker that is away comes back."""
    assert not produce_error(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), "x").retriable
    assert produce_error(KafkaError(KafkaError._MSG_TIMED_OUT), "x").retriable
    assert "message.max.bytes" in describe(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
