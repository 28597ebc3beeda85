"""Creates and migrates the table of messages, and checks tables and privileges."""

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
_LOCK = 0x70656E73746F636B  # "penstock"; the advisory lock of all migrations in a database
_VERSION = re.compile(r"penstock messages, version (\d+)")


class RunsInTransactions(Runs, Protocol):
    """A session that has transactions."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """See `Session.transaction`."""


@asynccontextmanager
async def alone(session: Runs) -> AsyncIterator[None]:
    """A transaction in which no other migration runs."""
    async with cast(RunsInTransactions, session).transaction():
        await session.run(sql.SQL("SELECT pg_advisory_xact_lock({})").format(_LOCK))
        # While this waits for a table, later statements wait behind it. So it does not wait for a long read or a dump.
        await session.run(sql.SQL("SET LOCAL lock_timeout = '1s'"))
        yield


@asynccontextmanager
async def one_by_one(session: Runs) -> AsyncIterator[None]:
    """Statements beside which no other migration runs, each in a transaction of its own: a table is not locked long."""
    await session.run(sql.SQL("SELECT pg_advisory_lock({})").format(_LOCK))
    try:
        yield
    finally:
        await session.run(sql.SQL("SELECT pg_advisory_unlock({})").format(_LOCK))


def latest_version() -> int:
    """The version of the table that this distribution needs."""
    return migrations(MIGRATIONS)[-1][0]


async def migrate(session: Runs, schema: str, name: str) -> Sequence[int]:
    """Create the table of messages, or bring it up to date. Can be repeated, also by several processes at once.

    Args:
        session: Its user may create tables in the schema.
        schema, name: The table.

    Returns:
        The versions that were missing; [] if it was up to date.
    """
    if (await version(session, schema, name) or 0) >= latest_version():
        return []
    names = {
        "table": table(schema, name),
        "ready_index": sql.Identifier(f"{name}_ready"),
        "hidden_index": sql.Identifier(f"{name}_hidden"),
    }
    done: list[int] = []
    async with alone(session):
        # IF NOT EXISTS would need the privilege to create a schema even if it exists.
        [[missing]] = await session.run(sql.SQL("SELECT to_regnamespace({}) IS NULL").format(_quoted(schema)))
        if missing:
            await session.run(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        present = await version(session, schema, name)
        for number, path in migrations(MIGRATIONS):
            if number > (present or 0):
                for part in statement(path, names).as_string().split(";\n"):
                    if part.strip():
                        await session.run(sql.SQL(part))
                done.append(number)
        comment = f"penstock messages, version {max(present or 0, latest_version())}"
        await session.run(sql.SQL("COMMENT ON TABLE {} IS {}").format(table(schema, name), comment))
    return done


def _quoted(schema: str) -> str:
    return sql.Identifier(schema).as_string()


async def version(session: Runs, schema: str, name: str) -> int | None:
    """The version of a table of messages: 0 if its comment does not say; None if the table does not exist."""
    rows = await session.run(
        sql.SQL(
            # Workers of version 1 write their number into the comment of a newer table when they connect again.
            "SELECT obj_description(found, 'pg_class'), EXISTS (SELECT FROM pg_attribute WHERE attrelid = found "
            "AND attname = 'unended_calls' AND NOT attisdropped) FROM to_regclass({}) AS found WHERE found IS NOT NULL"
        ).format(table(schema, name).as_string())
    )
    if not rows:
        return None
    found = _VERSION.search(rows[0][0] or "")
    number = int(found[1]) if found else 0
    return max(number, 2) if number and rows[0][1] else number


async def verify(session: Runs, schema: str, name: str, privileges: Sequence[str]) -> None:
    """Check that a table of messages can be used.

    Args:
        session: Its user is the one that needs the privileges.
        schema, name: The table.
        privileges: The privileges that are needed ("SELECT", …).

    Raises:
        FatalConnectorError: it is missing or too old, or a privilege is missing.
    """
    shown = f"{schema}.{name}"
    present = await version(session, schema, name)
    if present is None:
        raise FatalConnectorError(
            f"there is no table {shown}; run `penstock postgres migrate`, or set `create: true` in the queue's config"
        )
    # 0 means that its comment was changed; then a missing column shows later.
    if 0 < present < latest_version():
        raise FatalConnectorError(
            f"table {shown} is of version {present}, this Penstock needs {latest_version()}; run `penstock postgres "
            f"migrate`, or set `create: true` in the queue's config"
        )
    await verify_privileges(session, schema, name, privileges)


async def verify_privileges(session: Runs, schema: str, name: str, privileges: Sequence[str]) -> None:
    """Check the privileges on a table.

    Raises:
        FatalConnectorError: some are missing; it names them.
    """
    checks = [
        sql.SQL("has_table_privilege({}, {})").format(table(schema, name).as_string(), each) for each in privileges
    ]
    [allowed] = await session.run(sql.SQL("SELECT {}").format(sql.SQL(", ").join(checks)))
    denied = [privilege for privilege, granted in zip(privileges, allowed, strict=True) if not granted]
    if denied:
        raise FatalConnectorError(
            f"the user of `dsn` lacks {', '.join(denied)} on table {schema}.{name}; "
            f"GRANT {', '.join(denied)} ON {schema}.{name} TO that user"
        )
