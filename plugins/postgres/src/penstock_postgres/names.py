"""Names in the database: tables, indexes and channels, quoted and short enough."""

from __future__ import annotations

import hashlib

from psycopg import sql

from penstock_postgres.options import MAX_TABLE_NAME, PostgresOptions


def table(schema: str, name: str) -> sql.Identifier:
    """A table with its schema, quoted."""
    return sql.Identifier(schema, name)


def quoted(*parts: str) -> sql.SQL:
    """Any name, quoted, for a statement with parameters: psycopg looks for `%` in quoted names as well."""
    return sql.SQL(sql.Identifier(*parts).as_string().replace("%", "%%"))


def index(table_name: str, suffix: str) -> str:
    """The name of our index on a user's table, no longer than PostgreSQL allows."""
    if len(table_name.encode()) > MAX_TABLE_NAME:
        table_name = "long_" + hashlib.sha256(table_name.encode()).hexdigest()[:32]
    return f"{table_name}_penstock_{suffix}"


def channel(options: PostgresOptions, queue: str) -> str:
    """The channel that wakes the consumers of a queue: at most 63 plain characters, whatever the queue's name."""
    return notification_channel(options.schema_name, options.table, queue)


def notification_channel(schema: str, table_name: str, queue: str) -> str:
    """See `channel`."""
    whole = "\0".join((schema, table_name, queue)).encode()
    return "penstock_" + hashlib.sha256(whole).hexdigest()[:32]
