"""What this distribution offers. SQLite is not imported here, so that `penstock plugins` stays fast."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connector `sqlite`."""
    return [
        ConnectorSpec(
            "sqlite",
            consumer="penstock_sqlite.consumer:SqliteConsumer",
            producer="penstock_sqlite.producer:SqliteProducer",
            options="penstock_sqlite.options:SqliteOptions",
            capabilities=Capabilities(
                headers=True,
                keys=True,
                # The highest priority, then the lowest id, of what is visible. A requeued message keeps its id.
                ordering="queue",
                redelivery_count=True,
                record_delay=True,
                requeue_delay=True,
                lease=True,
                transactions=True,
                lag=True,
                tombstones=True,
                browse=True,
            ),
            summary="durable queues in an SQLite file, shared by the processes of this machine",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`sqlite` for models in JSON, `sqlite-dlq` for dead letters as they came."""
    return [
        Profile("sqlite", "sqlite", summary="JSON in an SQLite file"),
        Profile(
            "sqlite-dlq",
            "sqlite",
            serializer=None,
            model_handler=None,
            data_model=None,
            summary="raw bytes, for dead letters",
        ),
    ]
