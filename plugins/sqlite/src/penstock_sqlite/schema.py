"""The tables in the file: created, brought up to date, and refused if a newer version made them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from penstock.errors import FatalConnectorError

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        # A message's life: delayed (visible_at is set), visible (neither is set), claimed (claim is set), deleted.
        """
        CREATE TABLE penstock_messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            queue TEXT NOT NULL,
            priority INTEGER NOT NULL DEFAULT 0,
            visible_at REAL,
            claim INTEGER,
            attempts INTEGER NOT NULL DEFAULT 0,
            -- The consumer whose delivery ended without a settlement: it died, or its lease ended.
            left_by INTEGER,
            unended_calls INTEGER NOT NULL DEFAULT 0,
            enqueued_at REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
            "key" BLOB,
            headers TEXT,
            body BLOB
        )
        """,
        """
        CREATE INDEX penstock_visible ON penstock_messages (queue, priority DESC, id)
        WHERE claim IS NULL AND visible_at IS NULL
        """,
        """
        CREATE INDEX penstock_delayed ON penstock_messages (queue, visible_at) WHERE visible_at IS NOT NULL
        """,
        # A lease covers all messages of one delivery, so that to extend it is to change one row.
        """
        CREATE TABLE penstock_claims (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            queue TEXT NOT NULL,
            consumer INTEGER NOT NULL,
            lease_ends REAL NOT NULL,
            -- A JSON list of ids.
            messages TEXT NOT NULL
        )
        """,
        "CREATE TABLE penstock_consumers (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, process INTEGER NOT NULL)",
    ),
)
"""The statements that lead from each version to the next; all of a version in one transaction."""

LATEST = len(MIGRATIONS)

_VERSION_TABLE = "CREATE TABLE IF NOT EXISTS penstock_schema (version INTEGER NOT NULL)"
_IS_THERE = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'penstock_schema')"


def prepare(connection: sqlite3.Connection, path: str, create: bool) -> bool:
    """See that the tables are there and of this version; create them, or bring them up to date, if that is allowed.

    Returns:
        Whether there were none before.

    Raises:
        FatalConnectorError: they are not, and must not be made; or a newer version made them.
    """
    found, created = version(connection), False
    if found < LATEST and create:
        connection.execute("BEGIN IMMEDIATE")
        with connection:  # commits, or rolls back
            found = version(connection)  # another process may have been faster
            created = not found
            for statements in MIGRATIONS[found:]:
                for statement in statements:
                    connection.execute(statement)
            if found < LATEST:
                connection.execute(_VERSION_TABLE)
                connection.execute("DELETE FROM penstock_schema")
                connection.execute("INSERT INTO penstock_schema VALUES (?)", (LATEST,))
                found = LATEST
    if found < LATEST:
        old = f"tables of version {found}, and this penstock-sqlite needs version {LATEST}"
        what = f"has {old}" if found else "has no queues"
        raise FatalConnectorError(f"{path}: the file {what}; set `create: true` in the queue's config")
    if found > LATEST:
        raise FatalConnectorError(
            f"{path}: its tables have version {found}, and this penstock-sqlite knows {LATEST}; upgrade "
            "penstock-sqlite here"
        )
    return created


def version(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 if there are none."""
    if not connection.execute(_IS_THERE).fetchone()[0]:
        return 0
    row = connection.execute("SELECT max(version) FROM penstock_schema").fetchone()
    return int(row[0] or 0)
