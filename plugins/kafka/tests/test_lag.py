"""How many messages wait: known without asking the client, which seldom answers while it is polled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import Producer

Take = Callable[..., list[Any]]
Until = Callable[..., None]


def test_the_lag_is_unknown_before_the_group_has_answered(bench: Any, until: Until) -> None:
    """A consumer that does not know its partitions must not look like one with an empty queue."""
    topic = bench.topic(partitions=2)
    consumer = bench.consumer(topic, connect=False)
    assert consumer.lag() is None
    consumer.connect()
    assert consumer.lag() is None

    until(lambda: consumer.lag() == 0, lambda: consumer.consume(1, 0.05))


def test_the_lag_counts_what_was_not_delivered(bench: Any, take: Take, until: Until) -> None:
    """It is messages in the broker, not those in flight."""
    topic = bench.topic()
    bench.fill(topic, [b"%d" % i for i in range(10)])
    consumer = bench.consumer(topic)

    take(consumer, 4)
    assert consumer.lag() == 6
    take(consumer, 6)
    assert consumer.lag() == 0
    bench.fill(topic, [b"more"])

    until(lambda: consumer.lag() == 1, lambda: consumer.consume(0, 0.05))


def test_the_lag_of_a_topic_with_transactions_becomes_zero(real_bench: Any, take: Take, until: Until) -> None:
    """Markers and aborted records take up offsets that no consumer is ever given."""
    topic = real_bench.topic()
    client = Producer({"bootstrap.servers": real_bench.server.bootstrap, "transactional.id": real_bench.group})
    client.init_transactions(30)
    for body, commit in ((b"kept", True), (b"aborted", False)):
        client.begin_transaction()
        client.produce(topic, body)
        client.flush(30)
        (client.commit_transaction if commit else client.abort_transaction)(30)
    consumer = real_bench.consumer(topic)

    found = take(consumer, 1)

    assert found[0].message == b"kept"
    until(lambda: consumer.lag() == 0, lambda: consumer.consume(10, 0.05))


def test_a_member_without_partitions_has_no_lag(real_bench: Any, take: Take, until: Until) -> None:
    """More workers than partitions: the idle one knows that nothing waits for it."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"0"])
    busy = real_bench.consumer(topic)
    take(busy, 1)
    idle = real_bench.consumer(topic)

    def both() -> None:
        busy.consume(0, 0)
        busy.consume(1, 0.02)
        idle.consume(1, 0.02)

    until(lambda: idle.lag() == 0, both)


def test_the_lag_of_a_consumer_without_room_grows(bench: Any, take: Take, until: Until) -> None:
    """Its partitions are paused, so no fetch tells what is new: the brokers are asked."""
    topic = bench.topic(partitions=2)
    bench.fill(topic, [b"0"])
    consumer = bench.consumer(topic)
    take(consumer, 1)
    until(lambda: consumer.lag() == 0, lambda: consumer.consume(1, 0.05))
    until(lambda: consumer._open()[1]._paused, lambda: consumer.consume(0, 0.05))

    for partition in (0, 1):
        bench.fill(topic, [b"more"] * 5, partition)

    until(lambda: consumer.lag() == 10, lambda: consumer.consume(0, 0.05))


def test_the_lag_is_never_zero_while_the_queue_is_worked_off(bench: Any, take: Take, until: Until) -> None:
    """An engine that ends with an empty queue looks at it between any two messages."""
    topic = bench.topic()
    bench.fill(topic, [b"0"])
    consumer = bench.consumer(topic)
    take(consumer, 1)
    until(lambda: consumer.lag() == 0, lambda: consumer.consume(1, 0.05))
    bench.fill(topic, [b"%d" % number for number in range(50)])

    seen = []
    for _ in range(50):
        take(consumer, 1)
        seen.append(consumer.lag())

    assert seen == list(range(49, -1, -1))
