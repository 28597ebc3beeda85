"""The table that holds the messages of all queues."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import sql

from penstock.errors import ConnectorError, ProduceError
from penstock.headers import dump_headers
from penstock.message import Record
from penstock_postgres import schema
from penstock_postgres.message import PostgresMessage, abandoned
from penstock_postgres.names import channel, table
from penstock_postgres.options import HIGHEST_PRIORITY, PostgresOptions
from penstock_postgres.queue_table import Insert
from penstock_postgres.session import Parameters, Query
from penstock_postgres.statements import Runs, statement
from penstock_postgres.writes import too_large

_ID = re.compile(r"[0-9]{1,18}")

UTF_8 = "UTF8"  # as PostgreSQL calls this encoding


class MessageTable:
    """See `QueueTable`."""

    def __init__(self, queue: str, options: PostgresOptions) -> None:
        names = {"table": table(options.schema_name, options.table)}
        self._options = options
        self._encoding = UTF_8
        self.label = f"queue {queue!r}"
        self.channel: str | None = channel(options, queue) if options.notify else None
        self.scope: Mapping[str, Any] = {"queue": queue}
        self.claim: Query = statement("claim", {**names, "and_chosen": sql.SQL("")})
        self.claim_chosen: Query = statement("claim", {**names, "and_chosen": sql.SQL(" AND id = ANY(%(chosen)s)")})
        self.wake: Query = statement("wake", names)
        self.delete: Query = statement("delete", names)
        self.extend: Query = statement("extend", names)
        self.release: Query = statement("release", names)
        self.record_calls: Query | None = statement("record_calls", names)
        self.lag: Query = statement("lag", names)
        self._browse: Query = statement("browse", names)
        insert: Query = statement("insert", names)
        if self.channel is not None:
            # Storing and waking in one statement are one round trip and one transaction.
            insert = sql.SQL("WITH stored AS ({}) {}").format(insert, statement("notify", names))
        self._insert = insert

    @property
    def backlog(self) -> Query:
        """See `QueueTable`."""
        return statement("backlog", {"table": table(self._options.schema_name, self._options.table)})

    async def prepare_to_consume(self, session: Runs) -> None:
        """See `QueueTable`."""
        await self._prepare(session, ("SELECT", "UPDATE", "DELETE"))

    async def prepare_to_produce(self, session: Runs) -> None:
        """See `QueueTable`."""
        await self._prepare(session, ("INSERT",))
        [[self._encoding]] = await session.run(sql.SQL("SELECT getdatabaseencoding()::text"))

    async def prepare_to_browse(self, session: Runs) -> None:
        """See `QueueTable`."""
        await schema.verify(session, self._options.schema_name, self._options.table, ("SELECT",))

    def chosen(self, positions: Sequence[str]) -> Parameters:
        """See `QueueTable`."""
        return {"chosen": [int(position) for position in positions]}

    def browse(self, after: str | None) -> tuple[Query, Parameters]:
        """See `QueueTable`."""
        if after is not None and not _ID.fullmatch(after):
            raise ConnectorError(f"{after!r} is not a position of {self.label}; a position is a number, like '42'")
        return self._browse, {**self.scope, "after": int(after or 0)}

    async def _prepare(self, session: Runs, privileges: Sequence[str]) -> None:
        if self._options.create:
            await schema.migrate(session, self._options.schema_name, self._options.table)
        await schema.verify(session, self._options.schema_name, self._options.table, privileges)

    def message(self, row: tuple[Any, ...], token: UUID) -> PostgresMessage:
        """See `QueueTable`."""
        row_id, body, key, written_headers, enqueued_at, attempts, last_lease, calls = row
        left = abandoned(last_lease, calls, token) if last_lease is not None or calls else 0
        return PostgresMessage(row_id, body, key, written_headers, enqueued_at, attempts, token, left)

    def fence(self, messages: Sequence[PostgresMessage]) -> dict[str, Any]:
        """See `QueueTable`."""
        return {
            "ids": [message.message_context for message in messages],
            "tokens": [message.token for message in messages],
        }

    def rejection(self, record: Record) -> ProduceError | None:
        """See `QueueTable`."""
        return refusal(record)

    def inserts(self, records: Sequence[Record], positions: Sequence[int]) -> Sequence[Insert]:
        """See `QueueTable`."""
        chosen = [records[position] for position in positions]
        parameters = {**columns(chosen, self._encoding), **self.scope}
        if self.channel is not None:
            parameters["channel"] = self.channel
        return [Insert(self._insert, parameters, positions)]


def columns(records: Sequence[Record], encoding: str) -> dict[str, Any]:
    """Records as the arrays that `insert.sql` takes.

    Args:
        records: To be stored.
        encoding: The database's.
    """
    ascii_only = encoding != UTF_8
    return {
        "bodies": [record.message for record in records],
        "keys": [record.key for record in records],
        "headers": [dump_headers(record.headers, ascii_only=ascii_only) for record in records],
        "priorities": [int((record.options or {}).get("priority", 0)) for record in records],
        "delays": [float(record.delay) for record in records],
    }


def refusal(record: Record) -> ProduceError | None:
    """The error for a record that can never be stored in the table of messages; None if it can be tried."""
    for option, value in (record.options or {}).items():
        if option != "priority":
            return ProduceError(
                f"PostgreSQL takes no option {option!r} with a message, only 'priority'", retriable=False
            )
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > HIGHEST_PRIORITY:
            text = f"a priority is a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}, not {value!r}"
            return ProduceError(text, retriable=False)
    return too_large(record)
