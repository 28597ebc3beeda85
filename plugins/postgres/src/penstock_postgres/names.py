"""The names that a queue has in the database beside its table's."""

from __future__ import annotations

import hashlib

from psycopg import sql

from penstock_postgres.options import LONGEST_NAME, PostgresOptions


def table(schema: str, name: str) -> sql.Identifier:
    """A table, with its schema, quoted."""
    return sql.Identifier(schema, name)


def quoted(*parts: str) -> sql.SQL:
    """Any name at all, for a statement that takes parameters: psycopg looks for these in quoted names, too."""
    return sql.SQL(sql.Identifier(*parts).as_string().replace("%", "%%"))


def index(table_name: str, suffix: str) -> str:
    """The name of an index of ours on a table of somebody's, no longer than PostgreSQL allows."""
    if len(table_name.encode()) > LONGEST_NAME:
        table_name = "long_" + hashlib.sha256(table_name.encode()).hexdigest()[:32]
    return f"{table_name}_penstock_{suffix}"


def channel(options: PostgresOptions, queue: str) -> str:
    """The channel on which a queue's consumers are woken: any queue's name makes one of 63 plain characters or less."""
    return notification_channel(options.schema_name, options.table, queue)


def notification_channel(schema: str, table_name: str, queue: str) -> str:
    """See `channel`."""
    whole = "\0".join((schema, table_name, queue)).encode()
    return "penstock_" + hashlib.sha256(whole).hexdigest()[:32]
