"""What this distribution offers: the connectors `kafka` and `kafka.share`, and profiles."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1

BROWSE_GROUP = "penstock-browse"
"""The client needs a group's name, although it never joins one to browse."""


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connectors."""
    return [
        ConnectorSpec(
            "kafka",
            consumer="penstock_kafka.consumer:KafkaConsumer",
            producer="penstock_kafka.producer:KafkaProducer",
            options="penstock_kafka.options:KafkaOptions",
            check="penstock_kafka.check:check",
            capabilities=Capabilities(
                headers=True,
                keys=True,
                ordering="key",
                # A requeued message waits in this process: Kafka cannot hold a record.
                requeue_delay=True,
                replay=True,
                lag=True,
                tombstones=True,
                groups=True,
                browse=True,
                backlog=True,
                create=True,
                seek=True,
            ),
            several=True,
            browse_config={"group.id": BROWSE_GROUP},
            record_options=frozenset({"partition", "timestamp"}),
            summary="Kafka topics",
        ),
        ConnectorSpec(
            "kafka.share",
            consumer="penstock_kafka.share_consumer:ShareGroupConsumer",
            producer="penstock_kafka.producer:KafkaProducer",
            options="penstock_kafka.share_options:ShareOptions",
            check="penstock_kafka.check:check",
            capabilities=Capabilities(
                headers=True,
                keys=True,
                redelivery_count=True,
                replay=True,
                tombstones=True,
                groups=True,
                browse=True,
                create=True,
            ),
            several=True,
            browse_config={"group.id": BROWSE_GROUP},
            record_options=frozenset({"partition", "timestamp"}),
            summary="Kafka topics, by share groups (Kafka 4.2 or later)",
        ),
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """The profiles of the same names in py-volley, and `kafka`, which is `confluent`."""
    py_volley = {"orjson-pydantic": "json", "msgpack-pydantic": "msgpack"}
    return [
        *standard_profiles("kafka", "on Kafka"),
        *standard_profiles("kafka", "on Kafka", name="confluent", also=py_volley),
        *standard_profiles("kafka.share", "on a share group of Kafka", name="kafka-share"),
        Profile("confluent-batch-json", "kafka", batch=True, summary="JSON on Kafka; the function gets lists"),
    ]
