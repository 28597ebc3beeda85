"""A loop over confluent-kafka's share consumer, written by hand: what a poll brings is worked off, its outputs are
confirmed, then each message is accepted, and the broker's answer waited for.

    python -m benchmarks.raw.kafka_share BOOTSTRAP SOURCE TARGET MESSAGES

The next poll is sent only then: the client gives nothing new to a member that still holds something.
"""

from __future__ import annotations

import sys

from confluent_kafka import AcknowledgeType, Producer, ShareConsumer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak
from penstock_kafka.share_options import SHARE_DEFAULTS


def main(bootstrap: str, source: str, target: str, messages: int) -> None:
    """Consume `messages` messages, produce one each, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    servers, group = {"bootstrap.servers": bootstrap}, f"raw-{target}"
    earliest = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[earliest])
    admin = AdminClient(servers)
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(30)
    consumer = ShareConsumer({**servers, "group.id": group, **SHARE_DEFAULTS})
    consumer.subscribe([source])
    producer = Producer({**servers, "linger.ms": 5, "enable.idempotence": True})
    clock, done = Clock(), 0
    errors: list[object] = []

    def delivered(error: object, _message: object) -> None:
        if error:
            errors.append(error)

    while done < messages:
        received = consumer.poll(0.1).records()
        if not received:
            continue
        clock.go()
        for message in received:
            assert message.error() is None, message.error()
            producer.produce(target, encode(peak(decode(message.value()))), message.key(), -1, delivered)
        producer.flush()
        assert not errors, errors[0]
        for message in received:
            consumer.acknowledge(message, AcknowledgeType.ACCEPT)
        assert not any(consumer.commit_sync(30).values())
        done += len(received)
    clock.show(done)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
