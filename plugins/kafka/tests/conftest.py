"""Topics, consumers and producers of a test's own, all closed at its end."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from penstock.errors import NotConnected, ProduceError
from penstock.message import QueueMessage, Record
from penstock_kafka.consumer import KafkaConsumer
from penstock_kafka.options import KafkaOptions
from penstock_kafka.producer import KafkaProducer

if TYPE_CHECKING:
    from tests.servers.kafka.server import KafkaServer

TIMEOUT = 30.0  # seconds for anything that must happen


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    """Every connector of a test is shut down: the threads of its client would poll until the last test."""
    before = set(threading.enumerate())
    yield
    left = [each.name for each in set(threading.enumerate()) - before if each.name.startswith("penstock-kafka-")]
    assert not left, f"the test shuts {left} down"


class Bench:
    """What a test of the connector needs of a broker.

    Attributes:
        server: The broker.
        group: A consumer group that no other test has.
    """

    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self.group = f"group-{uuid.uuid4().hex[:8]}"
        self._consumers: list[KafkaConsumer] = []

    def topic(self, partitions: int = 1) -> str:
        """A new topic."""
        return self.server.topic(partitions=partitions)

    def options(self, **more: Any) -> KafkaOptions:
        """Options for this broker."""
        return KafkaOptions(**{"bootstrap.servers": self.server.bootstrap, **more})

    def consumer(self, name: str, connect: bool = True, **more: Any) -> KafkaConsumer:
        """A consumer in this test's group."""
        quick = {"group.id": self.group, "heartbeat.interval.ms": 200, "commit_interval": 0.1}
        consumer = KafkaConsumer(name, self.options(**{**quick, **more}))
        self._consumers.append(consumer)
        if connect:
            consumer.connect()
        return consumer

    def close(self) -> None:
        """Shut every consumer down."""
        for consumer in self._consumers:
            consumer.shutdown()

    def fill(self, topic: str, bodies: Iterable[bytes | None], partition: int = 0, **more: Any) -> None:
        """Produce with a client of our own, and wait for the confirmation."""
        client = Producer({"bootstrap.servers": self.server.bootstrap, "linger.ms": 5})
        for body in bodies:
            client.produce(topic, body, partition=partition, **more)
        assert client.flush(TIMEOUT) == 0

    def produce(self, topic: str, records: Sequence[Record], **more: Any) -> Sequence[ProduceError | None]:
        """Produce with the connector, in one call."""

        async def main() -> Sequence[ProduceError | None]:
            producer = KafkaProducer(topic, self.options(**more))
            await producer.connect()
            try:
                return await producer.produce(records)
            finally:
                await producer.shutdown()

        return asyncio.run(main())

    def committed(self, topic: str, partition: int = 0) -> int:
        """What the broker knows as committed by this test's group; -1001 for nothing."""
        client = Consumer({"bootstrap.servers": self.server.bootstrap, "group.id": self.group})
        try:
            return client.committed([TopicPartition(topic, partition)], timeout=TIMEOUT)[0].offset
        finally:
            client.close()

    def read(self, topic: str, count: int, partition: int = 0) -> list[Any]:
        """The first `count` messages of a partition, as the client sees them."""
        client = Consumer({"bootstrap.servers": self.server.bootstrap, "group.id": f"{self.group}-reader"})
        client.assign([TopicPartition(topic, partition, 0)])
        found: list[Any] = []
        deadline = time.monotonic() + TIMEOUT
        while len(found) < count and time.monotonic() < deadline:
            found += [each for each in client.consume(count - len(found), 0.2) if each.error() is None]
        client.close()
        return found


@pytest.fixture
def bench(kafka: KafkaServer) -> Iterator[Bench]:
    """A bench at whatever Kafka there is."""
    bench = Bench(kafka)
    yield bench
    bench.close()


@pytest.fixture
def real_bench(real_kafka: KafkaServer) -> Iterator[Bench]:
    """A bench at a real broker."""
    bench = Bench(real_kafka)
    yield bench
    bench.close()


@pytest.fixture
def mock_bench() -> Iterator[Bench]:
    """A bench at a mock cluster of its own, whose `server.refuse` makes it answer with errors."""
    from tests.servers.kafka.mock import MockCluster

    cluster = MockCluster()
    bench = Bench(cluster)
    yield bench
    bench.close()
    cluster.close()


@pytest.fixture(name="take")
def take_fixture() -> Callable[..., list[QueueMessage]]:
    """Consume until so many messages have come; fails if they do not."""
    return take


def take(
    consumer: KafkaConsumer, count: int, timeout: float = TIMEOUT, *, reconnecting: bool = False
) -> list[QueueMessage]:
    """Consume until `count` messages have come; if `reconnecting`, connect again as often as brokers are away."""
    found: list[QueueMessage] = []
    deadline = time.monotonic() + timeout
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} messages after {timeout:.0f} s"
        try:
            found += consumer.consume(count - len(found), 0.2)
        except NotConnected:
            if not reconnecting:
                raise
            consumer.connect()
    return found


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition, doing something meanwhile."""

    def until(condition: Callable[[], Any], meanwhile: Callable[[], Any] | None = None) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            if meanwhile is None:
                time.sleep(0.02)
            else:
                meanwhile()

    return until
