"""What this distribution offers; nothing is imported until a queue uses it."""

from __future__ import annotations

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1

CAPABILITIES = Capabilities(
    headers=True,
    keys=True,
    ordering="queue",
    redelivery_count=True,
    record_delay=True,
    requeue_delay=True,
    lease=True,
    lag=True,
    tombstones=True,
    browse=True,
    claim=True,
    backlog=True,
    create=True,
)


@hookimpl
def penstock_connectors() -> list[ConnectorSpec]:
    """The connector `memory`."""
    return [
        ConnectorSpec(
            "memory",
            consumer="penstock_memory.consumer:MemoryConsumer",
            producer="penstock_memory.producer:MemoryProducer",
            options="penstock_memory.options:MemoryOptions",
            capabilities=CAPABILITIES,
            summary="queues in this process, or a multiprocessing.Queue",
            record_options=frozenset(),
        )
    ]


@hookimpl
def penstock_profiles() -> list[Profile]:
    """`memory` and the others that every connector has."""
    return standard_profiles("memory", "in memory")
