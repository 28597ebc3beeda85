"""`enqueue`: messages stored by the user's own transaction, so that they exist if, and only if, it is committed."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, overload

import psycopg
from psycopg import sql
from pydantic import BaseModel
from pydantic_core import to_json

from penstock.bulk import BatchLimits, split
from penstock.errors import ConfigError
from penstock.message import Record
from penstock_postgres.check import MAX_QUEUE_NAME, name_problems
from penstock_postgres.message_table import columns, refusal
from penstock_postgres.names import notification_channel, table
from penstock_postgres.options import identifier
from penstock_postgres.session import MAX_STATEMENT_RECORDS
from penstock_postgres.statements import statement
from penstock_postgres.writes import MAX_STATEMENT_BYTES

_ONE_MESSAGE = (str, bytes, bytearray, memoryview, Mapping, BaseModel, Record)
"""What can be iterated over, and is not meant to be."""


@overload
def enqueue(
    connection: psycopg.Connection[Any],
    queue: str,
    messages: Iterable[Any],
    *,
    schema: str = ...,
    table_name: str = ...,
    notify: bool = ...,
) -> int: ...
@overload
def enqueue(
    connection: psycopg.AsyncConnection[Any],
    queue: str,
    messages: Iterable[Any],
    *,
    schema: str = ...,
    table_name: str = ...,
    notify: bool = ...,
) -> Awaitable[int]: ...
def enqueue(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    queue: str,
    messages: Iterable[Any],
    *,
    schema: str = "public",
    table_name: str = "penstock_messages",
    notify: bool = True,
) -> int | Awaitable[int]:
    """Store messages through a connection of yours, in the transaction that is open on it; commit nothing.

        with psycopg.connect(dsn) as connection:
            connection.execute("INSERT INTO orders …")
            enqueue(connection, "orders.placed", [Order(id=7)])

    Args:
        connection: A psycopg connection of either kind. On one with autocommit each call is a transaction.
        queue: The queue's name in the database: what `value` says in its configuration.
        messages: What to store, in order. A `Record` as it is, with its key, headers, delay and priority; bytes as a
            body; anything else as JSON, the way pydantic writes it.
        schema, table_name: The table of messages.
        notify: Wake waiting consumers when the transaction is committed.

    Returns:
        How many were stored; with an `AsyncConnection` an awaitable of that.

    Raises:
        TypeError: `messages` is a single message.
        ConfigError: a record has an option that the connector does not know or is too large, or a name is none.
        ValueError: a message cannot be written as JSON.
        psycopg.Error: what the database says.
    """
    if isinstance(messages, _ONE_MESSAGE):
        raise TypeError(f"enqueue: messages is a {type(messages).__name__}, which is one message; give a list of them")
    records = [_record(message) for message in messages]
    encoding = connection.info.parameter_status("server_encoding") or ""
    statements = _statements(queue, records, encoding, schema, table_name, notify) if records else []
    if isinstance(connection, psycopg.AsyncConnection):
        return _enqueue_async(connection, statements, len(records))
    # Not the connection's own kind of cursor: some write values into the statement, or know no names for them.
    cursor = psycopg.Cursor(connection)
    for query, parameters in statements:
        cursor.execute(query, parameters, binary=True)
    return len(records)


async def _enqueue_async(
    connection: psycopg.AsyncConnection[Any], statements: Sequence[tuple[sql.Composed, dict[str, Any]]], count: int
) -> int:
    cursor = psycopg.AsyncCursor(connection)
    for query, parameters in statements:
        await cursor.execute(query, parameters, binary=True)
    return count


def _record(message: Any) -> Record:
    if isinstance(message, Record):
        return message
    return Record(message if isinstance(message, bytes) else to_json(message))


def _statements(
    queue: str, records: Sequence[Record], encoding: str, schema: str, table_name: str, notify: bool
) -> Sequence[tuple[sql.Composed, dict[str, Any]]]:
    try:
        names = {"table": table(identifier(schema), identifier(table_name))}
    except ValueError as error:
        raise ConfigError(f"enqueue: {error}") from None
    for problem in (*name_problems(queue), *filter(None, map(refusal, records))):
        raise ConfigError(f"enqueue to {queue[:MAX_QUEUE_NAME]!r}: {problem}")
    insert = statement("insert", names)
    statements: list[tuple[sql.Composed, dict[str, Any]]] = []
    for batch in split(records, BatchLimits(MAX_STATEMENT_RECORDS, MAX_STATEMENT_BYTES)):
        chosen = [records[position] for position in batch]
        statements.append((insert, {"queue": queue, **columns(chosen, encoding)}))
    if notify:
        channel = notification_channel(schema, table_name, queue)
        statements.append((statement("notify", {}), {"channel": channel}))
    return statements
