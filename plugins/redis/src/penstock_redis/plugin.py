"""What this distribution offers: three connectors for Redis, and their profiles."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connectors."""
    return [
        ConnectorSpec(
            "redis.streams",
            consumer="penstock_redis.streams.consumer:StreamConsumer",
            producer="penstock_redis.streams.producer:StreamProducer",
            options="penstock_redis.options:StreamOptions",
            check="penstock_redis.options:check",
            # No claim: a group has one position, so an entry behind it cannot be taken out of the middle. No delay of a
            # record: an entry is there for every group at once.
            capabilities=Capabilities(
                headers=True,
                keys=True,
                ordering="queue",
                redelivery_count=True,
                requeue_delay=True,
                lease=True,
                replay=True,
                lag=True,
                tombstones=True,
                groups=True,
                browse=True,
                backlog=True,
                create=True,
                seek=True,
            ),
            record_options=frozenset(),
            summary="Redis Streams, shared by consumer groups",
        ),
        ConnectorSpec(
            "redis.lists",
            consumer="penstock_redis.lists.consumer:ListConsumer",
            producer="penstock_redis.lists.producer:ListProducer",
            options="penstock_redis.options:ListOptions",
            check="penstock_redis.options:check",
            # No browse: an element of a list has no position that stays.
            capabilities=Capabilities(
                ordering="queue",
                redelivery_count=True,
                record_delay=True,
                requeue_delay=True,
                lease=True,
                lag=True,
                backlog=True,
            ),
            record_options=frozenset(),
            summary="Redis lists, with leases or raw",
        ),
        ConnectorSpec(
            "redis.pubsub",
            consumer="penstock_redis.pubsub.consumer:PubSubConsumer",
            producer="penstock_redis.pubsub.producer:PubSubProducer",
            options="penstock_redis.options:PubSubOptions",
            check="penstock_redis.options:check_channels",
            # At most once: nothing is stored, so nothing can be delivered again, counted or shown.
            capabilities=Capabilities(ordering="queue"),
            record_options=frozenset(),
            max_record_bytes=512 * 2**20,
            several=True,
            summary="Redis Pub/Sub; at most once",
        ),
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """The usual profiles of each connector."""
    return [
        *standard_profiles("redis.streams", "in a Redis stream", name="redis-streams"),
        *standard_profiles("redis.lists", "in a Redis list", name="redis-lists"),
        *standard_profiles("redis.pubsub", "on a Redis channel", name="redis-pubsub"),
    ]
