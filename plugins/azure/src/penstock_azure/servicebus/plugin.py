"""What this distribution offers for Service Bus: the connector `servicebus` and its profiles."""

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
            "servicebus",
            consumer="penstock_azure.servicebus.consumer:ServiceBusConsumer",
            producer="penstock_azure.servicebus.producer:ServiceBusProducer",
            options="penstock_azure.servicebus.options:ServiceBusOptions",
            check="penstock_azure.servicebus.options:check",
            # No lag: AMQP does not tell it. No delay of a requeued message: the service has none.
            capabilities=Capabilities(
                headers=True,
                keys=True,
                tombstones=True,
                redelivery_count=True,
                record_delay=True,
                lease=True,
                browse=True,
            ),
            record_options=frozenset({"message_id", "partition_key", "session_id", "subject"}),
            summary="queues of Azure Service Bus",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`servicebus` for models in JSON, `servicebus-dlq` for dead letters as they came, and more."""
    return standard_profiles("servicebus", "on Azure Service Bus")
