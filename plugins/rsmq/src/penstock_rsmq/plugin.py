"""What this distribution offers: the connector `rsmq` and its profiles."""

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
            "rsmq",
            consumer="penstock_rsmq.consumer:RsmqConsumer",
            producer="penstock_rsmq.producer:RsmqProducer",
            options="penstock_rsmq.options:RsmqOptions",
            check="penstock_rsmq.check:check",
            # No ordering: a message that is delivered again stands behind those that were sent meanwhile.
            capabilities=Capabilities(
                redelivery_count=True,
                record_delay=True,
                requeue_delay=True,
                lease=True,
                lag=True,
                browse=True,
                claim=True,
                backlog=True,
                create=True,
            ),
            # Of py-volley: the first is the record's delay, the others change nothing.
            record_options=frozenset({"delay", "encode", "quiet"}),
            summary="RSMQ, a message queue on Redis",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """The profiles of the same names in py-volley, and `rsmq-batch`."""
    return standard_profiles("rsmq", "on Redis", also={"orjson-pydantic": "json", "msgpack-pydantic": "msgpack"})
