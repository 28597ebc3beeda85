"""The yardstick: the best loop over confluent-kafka that we can write by hand for at least once.

    python -m benchmarks.raw.kafka BOOTSTRAP SOURCE TARGET MESSAGES [produce_batch]

Several batches in flight, confirmed by delivery callbacks; the offsets of the oldest batches that are wholly confirmed
are committed once a second. Nothing is retried, dead-lettered, validated on the way out, measured or shut down cleanly.
"""

from __future__ import annotations

import collections
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

BATCH = 1_000
BATCHES_IN_FLIGHT = 20
COMMIT_EVERY = 1.0  # seconds


def main(bootstrap: str, source: str, target: str, messages: int, kind: str = "produce") -> None:
    """Consume `messages` messages, produce one each, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"raw-{target}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([source])
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 5,
            "enable.idempotence": True,
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    clock, done, committed_at = Clock(), 0, 0.0
    in_flight: collections.deque[tuple[list[int], dict[int, int]]] = collections.deque()
    safe: dict[int, int] = {}
    errors: list[object] = []

    def settle(*, final: bool = False) -> None:
        nonlocal committed_at
        while in_flight and in_flight[0][0][0] == 0:
            safe.update(in_flight.popleft()[1])
        if safe and (final or time.monotonic() - committed_at > COMMIT_EVERY):
            offsets = [TopicPartition(source, partition, offset) for partition, offset in safe.items()]
            consumer.commit(offsets=offsets, asynchronous=not final)
            safe.clear()
            committed_at = time.monotonic()

    while done < messages:
        received = consumer.consume(BATCH, 0.1)
        if received:
            clock.go()
            open_records, ends = [len(received)], {}

            def delivered(error: object, _message: object, open_records: list[int] = open_records) -> None:
                if error:
                    errors.append(error)
                else:
                    open_records[0] -= 1

            if kind == "produce_batch":
                batch = [{"value": encode(peak(decode(each.value()))), "key": each.key()} for each in received]
                producer.produce_batch(target, batch, -1, delivered)
                ends.update((each.partition(), each.offset() + 1) for each in received)
            else:
                for message in received:
                    body = encode(peak(decode(message.value())))
                    producer.produce(target, body, message.key(), -1, delivered)
                    ends[message.partition()] = message.offset() + 1
            in_flight.append((open_records, ends))
            done += len(received)
        producer.poll(0)
        settle()
        while len(in_flight) > BATCHES_IN_FLIGHT:
            producer.poll(0.05)
            settle()
    producer.flush()
    settle(final=True)
    assert not errors, errors[0]
    clock.show(done)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), *sys.argv[5:])
