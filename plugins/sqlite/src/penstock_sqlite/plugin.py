"""What this distribution offers. SQLite is not imported here, so that `penstock plugins` stays fast."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

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
                claim=True,
                backlog=True,
                create=True,
            ),
            summary="durable queues in an SQLite file, shared by the processes of this machine",
            record_options=frozenset({"priority"}),
            # SQLite takes up to a billion bytes in a row, and has a copy or two of it in memory meanwhile.
            max_record_bytes=256 * 2**20,
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`sqlite` and the others that every connector has."""
    return standard_profiles("sqlite", "in an SQLite file")
