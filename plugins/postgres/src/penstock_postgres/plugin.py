"""What this distribution offers: four connectors, their profiles, a command."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import CommandSpec, ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """`postgres` keeps messages in a table of its own, the others work on tables of the user's."""
    return [
        ConnectorSpec(
            "postgres",
            consumer="penstock_postgres.consumer:PostgresConsumer",
            producer="penstock_postgres.producer:PostgresProducer",
            options="penstock_postgres.options:PostgresOptions",
            check="penstock_postgres.check:check",
            capabilities=Capabilities(
                headers=True,
                keys=True,
                # Of what is visible, the highest priority and then the lowest id goes first; what is requeued keeps
                # its id, so it comes before everything younger that has not been delivered yet.
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
            record_options=frozenset({"priority"}),
            summary="queues in a PostgreSQL table",
        ),
        ConnectorSpec(
            "postgres.table",
            consumer="penstock_postgres.consumer:PostgresConsumer",
            producer="penstock_postgres.producer:PostgresProducer",
            options="penstock_postgres.options:TableOptions",
            check="penstock_postgres.check:check",
            # A row of a user's table has its own columns and no place for headers, a key or the delay of a record.
            capabilities=Capabilities(
                ordering="queue",
                redelivery_count=True,
                requeue_delay=True,
                lease=True,
                transactions=True,
                lag=True,
                browse=True,
                claim=True,
                backlog=True,
            ),
            summary="rows of any PostgreSQL table, as JSON objects",
        ),
        ConnectorSpec(
            "postgres.changes",
            consumer="penstock_postgres.changes:ChangesConsumer",
            options="penstock_postgres.options:ChangesOptions",
            check="penstock_postgres.check:check",
            # Attempts are counted by the worker, and requeued changes wait in its memory.
            capabilities=Capabilities(ordering="queue", requeue_delay=True),
            summary="changes of PostgreSQL tables, by logical replication",
        ),
        ConnectorSpec(
            "postgres.poll",
            consumer="penstock_postgres.poll:PollConsumer",
            options="penstock_postgres.options:PollOptions",
            check="penstock_postgres.check:check",
            capabilities=Capabilities(
                ordering="queue", requeue_delay=True, lag=True, groups=True, replay=True, tombstones=True
            ),
            summary="rows that are written to a PostgreSQL table, by looking at it",
        ),
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """JSON through a queue, and raw bytes for dead letters."""
    return [
        *standard_profiles("postgres", "in a PostgreSQL table"),
        Profile("postgres-table", "postgres.table", summary="rows of a table of yours"),
        Profile("postgres-changes", "postgres.changes", summary="changes of tables, by logical replication"),
        Profile("postgres-poll", "postgres.poll", summary="rows that are written to a table of yours"),
    ]


@hookimpl
def penstock_commands() -> Sequence[CommandSpec]:
    """`penstock postgres …`."""
    return [
        CommandSpec("postgres", "penstock_postgres.command:PostgresCommand", summary="prepare a PostgreSQL database")
    ]
