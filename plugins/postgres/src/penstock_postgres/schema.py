"""Creates the tables, brings them up to date, and says what is missing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, cast

from psycopg import sql

from penstock.errors import FatalConnectorError
from penstock_postgres.names import table
from penstock_postgres.statements import Runs, migrations, statement

MIGRATIONS = "migrations"
_LOCK = 0x70656E73746F636B  # "penstock"; whoever migrates anything of ours in this database, waits for it
_VERSION = re.compile(r"penstock messages, version (\d+)")


class RunsInTransactions(Runs, Protocol):
    """A connection that has transactions."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """See `Connection.transaction`."""


@asynccontextmanager
async def alone(connection: Runs) -> AsyncIterator[None]:
    """A transaction that nobody else who migrates runs beside."""
    async with cast(RunsInTransactions, connection).transaction():
        await connection.run(sql.SQL("SELECT pg_advisory_xact_lock({})").format(_LOCK))
        # Whoever waits for a table holds up all that come later: not for as long as somebody reads or dumps it.
        await connection.run(sql.SQL("SET LOCAL lock_timeout = '1s'"))
        yield


def latest_version() -> int:
    """The version that this distribution needs."""
    return migrations(MIGRATIONS)[-1][0]


async def migrate(connection: Runs, schema: str, name: str) -> Sequence[int]:
    """Create the table of messages, or bring it up to date. Safe to run again, and by several at once.

    Args:
        connection: Who may create tables in the schema.
        schema, name: The table.

    Returns:
        The versions that were missing; [] if it was up to date.
    """
    if (await version(connection, schema, name) or 0) >= latest_version():
        return []
    names = {
        "table": table(schema, name),
        "ready_index": sql.Identifier(f"{name}_ready"),
        "hidden_index": sql.Identifier(f"{name}_hidden"),
    }
    done: list[int] = []
    async with alone(connection):
        # Not with IF NOT EXISTS, which asks for the right to create one even where there is one.
        [[missing]] = await connection.run(sql.SQL("SELECT to_regnamespace({}) IS NULL").format(_quoted(schema)))
        if missing:
            await connection.run(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        present = await version(connection, schema, name)
        for number, path in migrations(MIGRATIONS):
            if number > (present or 0):
                for part in statement(path, names).as_string().split(";\n"):
                    if part.strip():
                        await connection.run(sql.SQL(part))
                done.append(number)
        comment = f"penstock messages, version {max(present or 0, latest_version())}"
        await connection.run(sql.SQL("COMMENT ON TABLE {} IS {}").format(table(schema, name), comment))
    return done


def _quoted(schema: str) -> str:
    return sql.Identifier(schema).as_string()


async def version(connection: Runs, schema: str, name: str) -> int | None:
    """The version of a table of messages: 0 if its comment does not tell; None if there is no such table."""
    rows = await connection.run(
        sql.SQL(
            # Workers of version 1 that connect again write their own number into the comment, whatever is there.
            "SELECT obj_description(found, 'pg_class'), EXISTS (SELECT FROM pg_attribute WHERE attrelid = found "
            "AND attname = 'unended_calls' AND NOT attisdropped) FROM to_regclass({}) AS found WHERE found IS NOT NULL"
        ).format(table(schema, name).as_string())
    )
    if not rows:
        return None
    found = _VERSION.search(rows[0][0] or "")
    number = int(found[1]) if found else 0
    return max(number, 2) if number and rows[0][1] else number


async def verify(connection: Runs, schema: str, name: str, privileges: Sequence[str]) -> None:
    """See that a table of messages can be used.

    Args:
        connection: As whom it is to be used.
        schema, name: The table.
        privileges: What must be allowed ("SELECT", …).

    Raises:
        FatalConnectorError: it is not there, is too old, or must not be used; says what to do.
    """
    shown = f"{schema}.{name}"
    present = await version(connection, schema, name)
    if present is None:
        raise FatalConnectorError(
            f"there is no table {shown}; run `penstock postgres migrate`, or set `create: true` in the queue's config"
        )
    # A table whose comment was changed says nothing about its version; then its columns must speak.
    if 0 < present < latest_version():
        raise FatalConnectorError(
            f"table {shown} is of version {present}, this Penstock needs {latest_version()}; run `penstock postgres "
            f"migrate`, or set `create: true` in the queue's config"
        )
    await verify_privileges(connection, schema, name, privileges)


async def verify_privileges(connection: Runs, schema: str, name: str, privileges: Sequence[str]) -> None:
    """See that a table may be used.

    Raises:
        FatalConnectorError: names the privileges that are missing.
    """
    checks = [
        sql.SQL("has_table_privilege({}, {})").format(table(schema, name).as_string(), each) for each in privileges
    ]
    [allowed] = await connection.run(sql.SQL("SELECT {}").format(sql.SQL(", ").join(checks)))
    denied = [privilege for privilege, granted in zip(privileges, allowed, strict=True) if not granted]
    if denied:
        raise FatalConnectorError(
            f"the user of `dsn` lacks {', '.join(denied)} on table {schema}.{name}; "
            f"GRANT {', '.join(denied)} ON {schema}.{name} TO that user"
        )
