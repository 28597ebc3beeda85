"""What a program writes over confluent-kafka to send and to read without a framework, at least once.

python -m benchmarks.raw.kafka_alone BOOTSTRAP SOURCE TARGET MESSAGES send|read
"""

from __future__ import annotations

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.clock import Clock
from benchmarks.work import Reading, readings

BATCH = 1_000
COMMIT_EVERY = 1.0  # seconds


def send(bootstrap: str, target: str, messages: int) -> None:
    """Objects to a topic, with acks=all and idempotence; every delivery report is checked."""
    encode = Reading.__pydantic_serializer__.to_json
    settings = {"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True, "acks": "all"}
    producer = Producer(settings | {"queue.buffering.max.messages": 2_000_000})
    producer.list_topics(target)
    objects = list(readings(messages))
    confirmed, errors = [0], []

    def delivered(error: object, _message: object) -> None:
        if error:
            errors.append(error)
        else:
            confirmed[0] += 1

    clock = Clock()
    clock.go()
    for obj in objects:
        producer.produce(target, encode(obj), None, -1, delivered)
        producer.poll(0)
    producer.flush()
    assert confirmed[0] == messages, errors[:1]
    clock.show(messages)


def read(bootstrap: str, source: str, group: str, messages: int) -> None:
    """Batches of objects; what is done with is committed once a second, and at the end."""
    decode = Reading.__pydantic_validator__.validate_json
    settings = {"bootstrap.servers": bootstrap, "group.id": f"raw-{group}", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings | {"enable.auto.commit": False})
    consumer.subscribe([source])
    clock, done, committed_at = Clock(), 0, 0.0
    ends: dict[int, int] = {}

    def commit(*, final: bool) -> None:
        offsets = [TopicPartition(source, partition, offset) for partition, offset in ends.items()]
        consumer.commit(offsets=offsets, asynchronous=not final)

    while done < messages:
        received = consumer.consume(BATCH, 0.1)
        if not received:
            continue
        clock.go()
        objects = []
        for message in received:
            assert message.error() is None, message.error()
            objects.append(decode(message.value()))
            ends[message.partition()] = message.offset() + 1
        done += len(objects)
        if time.monotonic() - committed_at > COMMIT_EVERY:
            commit(final=False)
            committed_at = time.monotonic()
    commit(final=True)
    clock.show(done)
    consumer.close()


if __name__ == "__main__":
    if sys.argv[5] == "send":
        send(sys.argv[1], sys.argv[3], int(sys.argv[4]))
    else:
        read(*sys.argv[1:4], int(sys.argv[4]))
