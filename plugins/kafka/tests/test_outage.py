"""Brokers that go away and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import NotConnected
from penstock.message import Record
from penstock_kafka.producer import KafkaProducer

Take = Callable[..., list[Any]]
Until = Callable[..., None]


def test_a_consumer_says_once_that_the_brokers_are_away_and_goes_on_when_they_are_back(
    real_bench: Any, take: Take, until: Until
) -> None:
    """Connecting again keeps client and ledger: what was delivered before the outage is settled after it."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"%d" % i for i in range(10)])
    consumer = real_bench.consumer(topic, connect_timeout=1)
    found = take(consumer, 10)
    consumer.on_success(found[:3])

    real_bench.server.kill()
    try:
        with pytest.raises(NotConnected, match="Kafka at "):
            until(lambda: False, lambda: consumer.consume(10, 0.1))
        assert consumer.consume(10, 0.1) == []
        with pytest.raises(NotConnected, match="no answer"):
            consumer.connect()
        assert consumer.on_success(found[3:6]) == 0
    finally:
        real_bench.server.start()

    consumer.connect()
    assert consumer.on_success(found[6:]) == 0
    real_bench.fill(topic, [b"10"])
    more: list[Any] = []

    def consume() -> None:
        try:
            more.extend(consumer.consume(10, 0.1))
        except NotConnected:
            consumer.connect()  # the last failed attempt may be told after the first that succeeded

    until(lambda: more, consume)
    assert [message.message for message in more] == [b"10"]
    until(lambda: real_bench.committed(topic) == 10, consume)


def test_a_client_that_gets_no_answer_for_long_is_replaced(
    real_bench: Any, take: Take, until: Until, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """It may be stuck. As long as it has partitions it is kept: what was delivered could not be settled without it."""
    monkeypatch.setattr("penstock_kafka.consumer.REPLACE_AFTER", 0.5)
    topic = real_bench.topic()
    real_bench.fill(topic, [b"%d" % i for i in range(3)])
    session = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
    consumer = real_bench.consumer(topic, connect_timeout=0.5, commit_interval=0.05, **session)
    found = take(consumer, 3)
    consumer.on_success(found[:1])
    until(lambda: real_bench.committed(topic) == 1, lambda: consumer.consume(1, 0.05))

    def fail_to_connect() -> None:
        with pytest.raises(NotConnected):
            consumer.connect()

    first = consumer._connected
    real_bench.server.kill()
    try:
        fail_to_connect()
        fail_to_connect()
        assert consumer._connected is first
        until(lambda: not consumer._tracker.ledgers(), fail_to_connect)
        until(lambda: consumer._connected is not first, fail_to_connect)
    finally:
        real_bench.server.start()

    assert "trying with a new client" in caplog.text
    until(lambda: connects(consumer))
    assert [message.message for message in take(consumer, 2, reconnecting=True)] == [b"1", b"2"]
    assert consumer.on_success(found[1:]) == 2


def connects(consumer: Any) -> bool:
    try:
        consumer.connect()
    except NotConnected:
        return False
    return True


def test_records_wait_for_brokers_that_come_back(real_bench: Any) -> None:
    """A broker that dies with records under way and comes back has each of them once, in order."""
    topic = real_bench.topic()

    async def main() -> Any:
        producer = KafkaProducer(topic, real_bench.options(**{"linger.ms": 1}))
        await producer.connect()
        calls = [asyncio.ensure_future(producer.produce([Record(b"%d" % i) for i in range(100)]))]
        await asyncio.sleep(0)
        real_bench.server.kill()
        calls.append(asyncio.ensure_future(producer.produce([Record(b"%d" % i) for i in range(100, 200)])))
        await asyncio.to_thread(real_bench.server.start)
        results = await asyncio.gather(*calls)
        await producer.shutdown()
        return results

    assert asyncio.run(main()) == [[None] * 100] * 2
    assert [message.value() for message in real_bench.read(topic, 200)] == [b"%d" % i for i in range(200)]


def test_a_producer_asks_for_the_brokers_while_nothing_is_confirmed(
    mock_bench: Any, until: Until, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that waits with records, and does not look for the brokers itself, would wait for minutes."""
    monkeypatch.setattr("penstock_kafka.producer.ASK_AFTER", 0.3)
    topic = mock_bench.topic(partitions=1)
    quick = {"retry.backoff.ms": 200, "retry.backoff.max.ms": 200}

    def answered() -> int:
        return caplog.text.count("requested topics): application requested")

    async def main() -> Any:
        producer = KafkaProducer(topic, mock_bench.options(**{"debug": "metadata", **quick}))
        await producer.connect()
        mock_bench.server.refuse(0, [7] * 5)  # request timed out: the client sends the records again
        await asyncio.to_thread(until, lambda: answered() == 1)  # connecting asks once, and its log comes late
        try:
            return await producer.produce([Record(b"x")])
        finally:
            await producer.shutdown()

    with caplog.at_level("DEBUG", logger="penstock.kafka.client"):
        assert asyncio.run(main()) == [None]

    assert answered() > 1
