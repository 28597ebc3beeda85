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
