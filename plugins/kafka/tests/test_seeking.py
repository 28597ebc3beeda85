"""A program without an engine reads a topic again, from where it says."""

from __future__ import annotations

from tests.servers.kafka.server import KafkaServer

from penstock import BlockingQueues


def test_a_program_reads_again_from_where_it_says(real_kafka: KafkaServer) -> None:
    """From a position, and from the beginning; a reader ends, and reads again."""
    topic = real_kafka.topic(partitions=1)
    options = {"bootstrap.servers": real_kafka.bootstrap, "group.id": topic}
    queues = {"orders": {"profile": "kafka", "value": topic, "config": options}}
    with BlockingQueues(queues) as shop:
        shop.send_batch("orders", [1, 2, 3])
        positions = []
        for delivery in shop.read("orders", model=int):
            positions.append(delivery.position)
            delivery.done()
            if len(positions) == 3:
                break
        shop.seek("orders", positions[1])
        for batch in shop.read("orders", model=int, batch=2, wait=10.0):
            assert batch.objects == [2, 3]
            batch.done()
            break
        shop.seek("orders", "beginning")
        assert next(iter(shop.read("orders", model=int))).object == 1
