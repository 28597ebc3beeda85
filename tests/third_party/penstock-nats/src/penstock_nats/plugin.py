"""What this distribution offers. No client library is imported here: `penstock plugins` must stay fast."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connector `nats`."""
    return [
        ConnectorSpec(
            "nats",
            consumer="penstock_nats.consumer:NatsConsumer",
            producer="penstock_nats.producer:NatsProducer",
            options="penstock_nats.options:NatsOptions",
            check="penstock_nats.check:check",
            # No ordering: of several messages that were requeued, the first to be requeued comes first.
            capabilities=Capabilities(
                headers=True,
                keys=True,
                redelivery_count=True,
                record_delay=True,
                requeue_delay=True,
                lease=True,
                replay=True,
                lag=True,
                tombstones=True,
                groups=True,
            ),
            summary="streams of NATS JetStream",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`nats` for models in JSON, `nats-dlq` for dead letters as they came."""
    return [
        Profile("nats", connector="nats", summary="JSON and pydantic over NATS JetStream"),
        Profile(
            "nats-dlq",
            connector="nats",
            serializer=None,
            model_handler=None,
            data_model=None,
            summary="bytes as they are, for dead letters on NATS JetStream",
        ),
    ]
