"""What this distribution offers: the connectors `rabbitmq` (quorum queues) and `rabbitmq.classic`, and profiles."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1


def _connector(name: str, options: str, redelivery_count: bool, summary: str) -> ConnectorSpec:
    return ConnectorSpec(
        name,
        consumer="penstock_rabbitmq.consumer:RabbitmqConsumer",
        producer="penstock_rabbitmq.producer:RabbitmqProducer",
        options=f"penstock_rabbitmq.options:{options}",
        check="penstock_rabbitmq.check:check",
        # No ordering: where a requeued message comes back differs by version and type of the queue.
        capabilities=Capabilities(
            headers=True,
            keys=True,
            tombstones=True,
            redelivery_count=redelivery_count,
            record_delay=True,
            requeue_delay=True,
            lag=True,
            backlog=True,
            create=True,
        ),
        record_options=frozenset({"routing_key", "priority"}),
        summary=summary,
    )


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """One for each type of queue: only quorum queues count deliveries."""
    return [
        _connector("rabbitmq", "RabbitmqOptions", True, "quorum queues and exchanges of RabbitMQ"),
        _connector("rabbitmq.classic", "ClassicOptions", False, "classic queues of RabbitMQ"),
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """The standard profiles of both connectors."""
    return [
        *standard_profiles("rabbitmq", "on RabbitMQ"),
        *standard_profiles("rabbitmq.classic", "on RabbitMQ", name="rabbitmq-classic"),
    ]
