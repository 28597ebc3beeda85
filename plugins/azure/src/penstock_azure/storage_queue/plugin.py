"""What this distribution offers for Storage Queues: the connector `storage_queue` and its profiles."""

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
            "storage_queue",
            consumer="penstock_azure.storage_queue.consumer:StorageQueueConsumer",
            producer="penstock_azure.storage_queue.producer:StorageQueueProducer",
            options="penstock_azure.storage_queue.options:StorageQueueOptions",
            check="penstock_azure.storage_queue.options:check",
            # No browsing: the service shows the first 32 messages that are visible, and no others.
            # No backlog: it counts what is delayed or in flight with what waits.
            capabilities=Capabilities(
                redelivery_count=True,
                record_delay=True,
                requeue_delay=True,
                lease=True,
                lag=True,
                create=True,
            ),
            record_options=frozenset(),
            summary="queues of an Azure Storage account",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`storage_queue` for models in JSON, `storage_queue-dlq` for dead letters as they came, and more."""
    return standard_profiles("storage_queue", "in Azure Storage")
