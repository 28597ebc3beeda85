"""The rows that the tables of a publication have when a slot is made, before the changes that come out of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from json import dumps
from typing import Any

import psycopg
from psycopg import sql

from penstock_postgres.errors import ERRORS
from penstock_postgres.options import ChangesOptions
from penstock_postgres.pgoutput import Sent, change_headers
from penstock_postgres.replication import Stream
from penstock_postgres.session import Session

# As JSON, because columns and row filters of a publication exist since PostgreSQL 15.
_TABLES = sql.SQL(
    "SELECT schemaname, tablename, to_jsonb(t) -> 'attnames', to_jsonb(t) ->> 'rowfilter', "
    "(SELECT jsonb_agg(a.attname) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a "
    "ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey) WHERE c.oid = format('%I.%I', schemaname, tablename)::regclass "
    "AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END) "
    "FROM pg_publication_tables t WHERE pubname = {} ORDER BY 1, 2"
)
_SETTINGS = sql.SQL(
    "SELECT set_config('timezone', 'UTC', true), set_config('statement_timeout', '0', true), "
    "set_config('idle_in_transaction_session_timeout', '0', true)"
)

MOST = 54  # characters of a slot's name that the temporary one has, of 63


class Snapshot:
    """Reads the tables as they were when a temporary slot was made, which ends with its connection.

    Args:
        client: A transaction with the snapshot.
        stream: The connection that has the temporary slot.
        slot: The slot to be made when everything is settled.
        lsn: Where the slot begins.
        tables: What is to be read.
        address: For errors.
    """

    def __init__(
        self,
        client: psycopg.AsyncConnection[tuple[Any, ...]],
        stream: Stream,
        slot: str,
        lsn: str,
        tables: Sequence[tuple[Any, ...]],
        address: str,
    ) -> None:
        self._client, self._stream, self._slot, self._lsn, self._address = client, stream, slot, lsn, address
        self._tables = deque(tables)
        self._cursor: psycopg.AsyncServerCursor[tuple[Any, ...]] | None = None
        self._table = ""
        self._row = 0

    @classmethod
    async def begin(cls, session: Session, stream: Stream, slot: str, options: ChangesOptions) -> Snapshot:
        """Make the temporary slot, and see the database as it is at that moment."""
        make = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT")
        [[_name, lsn, snapshot, _plugin]] = await stream.run(make.format(sql.Identifier(_temporary(slot))))
        client = await psycopg.AsyncConnection.connect(session.conninfo(), autocommit=True)
        await client.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await client.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        await client.execute(_SETTINGS)
        cursor = await client.execute(_TABLES.format(sql.Literal(options.publication or slot)))
        return cls(client, stream, slot, str(lsn), await cursor.fetchall(), str(session.address))

    async def read(self, most: int) -> Sequence[Sent]:
        """The next rows; none at the end."""
        with ERRORS.translating(self._address):
            while self._cursor is not None or self._tables:
                if self._cursor is None:
                    await self._open(*self._tables.popleft())
                elif rows := await self._cursor.fetchmany(most):
                    return [self._message(*row) for row in rows]
                else:
                    await self._cursor.close()
                    self._cursor = None
        return []

    async def _open(self, schema: str, table: str, columns: Any, condition: str | None, key: Any) -> None:
        self._table, self._row = f"{schema}.{table}", 0
        wanted = sql.SQL(", ").join(map(sql.Identifier, columns)) if columns else sql.SQL("*")
        pairs = [part for column in key or () for part in (sql.Literal(column), sql.Identifier("r", column))]
        shown = sql.SQL("json_build_object({})::text").format(sql.SQL(", ").join(pairs)) if pairs else sql.NULL
        where = sql.SQL(" WHERE " + condition) if condition else sql.SQL("")  # the server's own text
        query = sql.SQL("SELECT {}, to_json(r)::text FROM (SELECT {} FROM {}{}) r")
        self._cursor = self._client.cursor(name="penstock_snapshot")
        await self._cursor.execute(query.format(shown, wanted, sql.Identifier(schema, table), where))

    def _message(self, key: str | None, row: str) -> Sent:
        self._row += 1
        body = (
            f'{{"operation":"snapshot","table":{dumps(self._table)},"key":{key or "null"},"row":{row},"old":null,'
            f'"unchanged":[],"lsn":"{self._lsn}","xid":null,"committed_at":null}}'
        )
        headers = change_headers("snapshot", self._table, self._lsn, None)
        place = f"{self._lsn}/snapshot/{self._table}/{self._row}"
        return Sent(place, body.encode(), key.encode() if key else None, headers, None)

    async def finish(self) -> None:
        """Make the slot, where the temporary one stands."""
        make = sql.SQL("SELECT pg_copy_logical_replication_slot({}, {}, false)")
        with ERRORS.translating(self._address):
            await self._stream.run(make.format(sql.Literal(_temporary(self._slot)), sql.Literal(self._slot)))
            await self._stream.run(sql.SQL("DROP_REPLICATION_SLOT {}").format(sql.Identifier(_temporary(self._slot))))
        await self.close()

    async def close(self) -> None:
        """End the transaction."""
        if self._cursor is not None:
            with suppress(psycopg.Error):  # the connection may be lost
                await self._cursor.close()
        await self._client.close()


def _temporary(slot: str) -> str:
    return f"{slot[:MOST]}_snapshot"
