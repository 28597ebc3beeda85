"""SASL_SSL with PLAIN and SCRAM on a real broker: what is wrong is named by its option, without a secret."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.servers.kafka import jars
from tests.servers.kafka.secure import SecureBroker
from tests.servers.kafka.server import PASSWORD, USER
from tests.servers.requirement import missing

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_kafka.consumer import KafkaConsumer
from penstock_kafka.options import KafkaOptions
from penstock_kafka.producer import KafkaProducer

WRONG = "wr0ng-secret"
Take = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureBroker]:
    try:
        broker = SecureBroker(jars.fetch())
    except jars.BrokerUnavailableError as error:
        missing("kafka", str(error))
    yield broker
    broker.close()


def options(broker: SecureBroker, kind: str = "GOOD", **more: Any) -> KafkaOptions:
    """Options for one of the broker's listeners, all of them right."""
    right: dict[str, Any] = {
        "bootstrap.servers": broker.addresses[kind],
        "group.id": f"group-{uuid.uuid4().hex[:8]}",
        "sasl.username": USER,
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(broker.certificates.trusted),
    }
    return KafkaOptions(**{**right, **more})


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_messages_go_through(secure: SecureBroker, take: Take, mechanism: str) -> None:
    """Produced and consumed, by user and password alone for PLAIN, with the mechanism for SCRAM."""
    topic = secure.topic(partitions=1)
    more = {} if mechanism == "PLAIN" else {"sasl.mechanism": mechanism}

    async def produce() -> None:
        producer = KafkaProducer(topic, options(secure, **more))
        try:
            await producer.connect()
            assert await producer.produce([Record(b"1"), Record(b"2")]) == [None, None]
        finally:
            await producer.shutdown()

    asyncio.run(produce())
    consumer = KafkaConsumer(topic, options(secure, **more))
    consumer.connect()
    try:
        assert [message.message for message in take(consumer, 2)] == [b"1", b"2"]
    finally:
        consumer.shutdown()


@pytest.mark.parametrize(
    ("case", "kind", "error", "words"),
    [
        ("authority", "GOOD", NotConnected, "'ssl.ca.location'"),
        ("expired", "EXPIRED", NotConnected, "has expired"),
        ("name", "OTHER", NotConnected, "'bootstrap.servers'"),
        ("PLAIN", "GOOD", FatalConnectorError, "'sasl.password'"),
        ("SCRAM-SHA-256", "GOOD", FatalConnectorError, "'sasl.password'"),
        ("mechanism", "GOOD", FatalConnectorError, "'sasl.mechanism'"),
    ],
)
@pytest.mark.parametrize("role", ["input", "output"])
def test_what_is_wrong_is_named(
    secure: SecureBroker,
    caplog: pytest.LogCaptureFixture,
    case: str,
    kind: str,
    error: type[ConnectorError],
    words: str,
    role: str,
) -> None:
    """By the option to correct; neither error nor log has a password."""
    more: dict[str, Any] = {
        "authority": {"ssl.ca.location": str(secure.certificates.stranger)},
        "PLAIN": {"sasl.password": WRONG},
        "SCRAM-SHA-256": {"sasl.password": WRONG, "sasl.mechanism": "SCRAM-SHA-256"},
        "mechanism": {"sasl.mechanism": "SCRAM-SHA-512"},
    }.get(case, {})
    more["connect_timeout"] = 3.0
    topic = secure.topic(partitions=1)
    with caplog.at_level(logging.DEBUG), pytest.raises(error) as caught:
        _connect(topic, options(secure, kind, **more), role)
    assert words in str(caught.value)
    assert secure.addresses[kind] in str(caught.value)
    assert not any(secret in str(caught.value) + caplog.text for secret in (WRONG, PASSWORD))


def _connect(topic: str, options: KafkaOptions, role: str) -> None:
    async def connect(producer: KafkaProducer) -> None:
        try:
            await producer.connect()
        finally:
            await producer.shutdown()

    if role == "output":
        asyncio.run(connect(KafkaProducer(topic, options)))
        return
    consumer = KafkaConsumer(topic, options)
    try:
        consumer.connect()
    finally:
        consumer.shutdown()
