"""What this distribution offers: the connector `pubsub` and its profiles."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connector."""
    return [
        ConnectorSpec(
            "pubsub",
            consumer="penstock_gcp.consumer:PubSubConsumer",
            producer="penstock_gcp.producer:PubSubProducer",
            options="penstock_gcp.options:PubSubOptions",
            check="penstock_gcp.options:check",
            # Order by key and the service's count of deliveries exist on some subscriptions only: not declared.
            capabilities=Capabilities(
                headers=True, keys=True, tombstones=True, requeue_delay=True, lease=True, groups=True, create=True
            ),
            record_options=frozenset(),
            summary="topics and subscriptions of Google Cloud Pub/Sub",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`pubsub` for models in JSON, `pubsub-dlq` for dead letters as they came, and more."""
    return standard_profiles("pubsub", "on Google Cloud Pub/Sub")
