"""What this distribution offers: the connector `rsmq` and its profiles."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connector."""
    return [
        ConnectorSpec(
            "rsmq",
            consumer="penstock_rsmq.consumer:RsmqConsumer",
            producer="penstock_rsmq.producer:RsmqProducer",
            options="penstock_rsmq.options:RsmqOptions",
            check="penstock_rsmq.check:check",
            # No ordering: a message that is delivered again stands behind those that were sent meanwhile.
            capabilities=Capabilities(
                redelivery_count=True, record_delay=True, requeue_delay=True, lease=True, lag=True, browse=True
            ),
            summary="RSMQ, a message queue on Redis",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """The profiles of the same names in py-volley."""
    return [
        Profile("rsmq", "rsmq", summary="JSON objects on Redis"),
        Profile("rsmq-pydantic", "rsmq", summary="JSON, validated in one pass"),
        Profile("rsmq-orjson-pydantic", "rsmq", summary="JSON, validated in one pass"),
        Profile("rsmq-msgpack-pydantic", "rsmq", serializer="msgpack", summary="MessagePack, validated"),
        Profile(
            "rsmq-dlq",
            "rsmq",
            serializer=None,
            model_handler=None,
            data_model=None,
            summary="raw bytes, for dead letters",
        ),
    ]
