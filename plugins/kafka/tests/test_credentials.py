"""Brokers that ask who we are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.servers.kafka.server import PASSWORD, USER

from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record
from penstock.queues.adapters import make_consumer, make_producer
from penstock_kafka.producer import KafkaProducer

Take = Callable[..., list[Any]]


@pytest.fixture
def sasl(real_bench: Any) -> dict[str, str]:
    """The keys of a client that is let in."""
    if real_bench.server.sasl_bootstrap is None:
        pytest.skip("the Kafka of PENSTOCK_TEST_KAFKA has no user that the tests know")
    return {
        "bootstrap.servers": real_bench.server.sasl_bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.username": USER,
        "sasl.password": PASSWORD,
    }


def test_a_user_with_the_right_password_is_let_in(real_bench: Any, sasl: dict[str, str], take: Take) -> None:
    """Produced and consumed over an address that asks for credentials; the mechanism is PLAIN unless said otherwise."""
    topic = real_bench.topic()

    assert real_bench.produce(topic, [Record(b"x")], **sasl) == [None]

    assert take(real_bench.consumer(topic, **sasl), 1)[0].message == b"x"


def test_a_wrong_password_is_fatal_and_is_not_repeated(real_bench: Any, sasl: dict[str, str]) -> None:
    """Neither side waits for it to become right; the error says which keys to correct, and never the password."""
    topic = real_bench.topic()
    wrong = {**sasl, "sasl.password": "hunter2"}

    async def produce() -> None:
        producer = KafkaProducer(topic, real_bench.options(**wrong))
        try:
            await producer.connect()
        finally:
            await producer.shutdown()

    for connect in (lambda: real_bench.consumer(topic, **wrong), lambda: asyncio.run(produce())):
        with pytest.raises(FatalConnectorError, match=r"'sasl\.password' \(KAFKA_KEY, KAFKA_SECRET\)") as caught:
            connect()
        assert "hunter2" not in str(caught.value)
        assert sasl["bootstrap.servers"] in str(caught.value)


def test_a_client_that_speaks_without_credentials_is_told_what_the_broker_said(
    real_bench: Any, sasl: dict[str, str]
) -> None:
    """The broker hangs up, and that is what the error says."""
    plain = {"bootstrap.servers": sasl["bootstrap.servers"], "connect_timeout": 1}

    with pytest.raises(NotConnected, match=r"Disconnected: connection closed by peer"):
        real_bench.consumer(real_bench.topic(), **plain)


@pytest.mark.parametrize("role", ["input", "output"])
def test_what_the_client_says_of_a_secret_is_masked(role: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The client quotes `sasl.oauthbearer.config` when it cannot read it, in an error or in its log."""
    config = {
        "bootstrap.servers": "localhost:1",
        "group.id": "g",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": True,
        "sasl.oauthbearer.config": "principal=admin secret=hunter2-oauth",
        "connect_timeout": 1,
    }
    source = load({"queues": {"q": {"connector": "kafka", "config": config}}})
    queue = resolve_queue(source, "q", role, registry=registry_for(source))

    async def connect() -> None:
        make = make_consumer if role == "input" else make_producer
        connector = make(queue.connector_class, "q", queue.options)
        try:
            await connector.connect()
        finally:
            await connector.shutdown()

    with caplog.at_level("DEBUG"), pytest.raises(ConnectorError) as raised:
        asyncio.run(connect())

    assert "hunter2-oauth" not in str(raised.value) + caplog.text
