"""The names that a queue has in the database beside its table's."""

from __future__ import annotations

import hashlib

from psycopg import sql

from penstock_postgres.options import PostgresOptions


def table(schema: str, name: str) -> sql.Identifier:
    """A table, with its schema, quoted."""
    return sql.Identifier(schema, name)


def channel(options: PostgresOptions, queue: str) -> str:
    """The channel on which a queue's consumers are woken: any queue's name makes one of 63 plain characters or less."""
    return notification_channel(options.schema_name, options.table, queue)


def notification_channel(schema: str, table_name: str, queue: str) -> str:
    """See `channel`."""
    whole = "\0".join((schema, table_name, queue)).encode()
    return "penstock_" + hashlib.sha256(whole).hexdigest()[:32]
