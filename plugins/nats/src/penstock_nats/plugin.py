"""What this distribution offers. No client library is imported here: `penstock plugins` must stay fast."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

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
                headers=True, keys=True, tombstones=True, redelivery_count=True, record_delay=True, requeue_delay=True,
                lease=True, replay=True, lag=True, groups=True, browse=True, backlog=True, create=True,
            ),
            record_options=frozenset(),
            summary="streams of NATS JetStream",
        )
    ]  # fmt: skip


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`nats` for models in JSON, `nats-dlq` for dead letters as they came, and more."""
    return standard_profiles("nats", "on NATS JetStream")
