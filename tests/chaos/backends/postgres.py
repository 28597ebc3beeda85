"""Queues in PostgreSQL and a replication slot, seen by plain SQL alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any, LiteralString, cast

import psycopg

from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place
from tests.servers.postgres import PostgresServer

TIMEOUT = 3.0  # seconds after which the worker takes a server that says nothing for gone


class PostgresBackend:
    """See `Backend`. A database of the round's own."""

    def __init__(self, place: Place, label: str) -> None:
        self._dsn = cast(PostgresServer, place.server).fresh()
        self._through_proxy = self._dsn.replace(f":{place.direct}/", f":{place.proxy.port}/")
        self._label = label
        migrate = [sys.executable, "-m", "penstock.cli.main", "postgres", "migrate", "--dsn", self._dsn]
        subprocess.run(migrate, check=True, capture_output=True)
        self._connection: psycopg.Connection[Any] | None = None

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:  # noqa: ARG002
        return {
            "profile": "postgres-dlq" if dead_letters else "postgres",
            "config": {"dsn": self._through_proxy, "lease": lease, "timeout": TIMEOUT},
        }

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        statement = "INSERT INTO penstock_messages (queue, body, key) VALUES (%s, %s, %s)"
        with psycopg.connect(self._dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(statement, [(name, sent.body, sent.key) for sent in messages])

    def _ask(self, query: str, *values: Any) -> list[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)
        return self._connection.execute(query, values).fetchall()

    def count(self, name: str) -> int | None:
        try:
            [[found]] = self._ask("SELECT count(*) FROM penstock_messages WHERE queue = %s", name)
        except psycopg.OperationalError:
            return None
        return int(found)

    def unsettled(self, name: str) -> int | None:
        return self.count(name)

    def outputs(self, name: str) -> Sequence[bytes]:
        return [body for [body] in self._ask("SELECT body FROM penstock_messages WHERE queue = %s ORDER BY id", name)]

    def letters(self, name: str) -> Sequence[Letter]:
        rows = self._ask("SELECT body, headers FROM penstock_messages WHERE queue = %s", name)
        return [Letter(body, dict(headers or []).get("penstock-error-stage", "?")) for body, headers in rows]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


TRANSACTION = 10  # messages of one
END = "SELECT (pg_current_wal_lsn() - '0/0')::bigint"
CONFIRMED = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = %s"


class ChangesBackend(PostgresBackend):
    """See `Backend`. The input are logical messages of a slot, a few in each transaction; the rest are queues."""

    def __init__(self, place: Place, label: str) -> None:
        super().__init__(place, label)
        self._slot = label.replace("-", "_")
        self._ends: list[tuple[int, int]] = []

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        if name != "source":
            return super().queue(name, lease, dead_letters)
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(cast(LiteralString, f"CREATE PUBLICATION {self._slot}"))
        self._ask("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", self._slot)
        config = {"dsn": self._through_proxy, "messages": self._slot, "session_timeout": lease}
        return {"profile": "postgres-changes", "value": self._slot, "config": config}

    def fill(self, name: str, messages: Sequence[Sent]) -> None:  # noqa: ARG002
        emit = "SELECT pg_logical_emit_message(true, %s, body) FROM unnest(%s::bytea[]) AS bodies(body)"
        for start in range(0, len(messages), TRANSACTION):
            bodies = [sent.body for sent in messages[start : start + TRANSACTION]]
            self._ask(emit, self._slot, bodies)
            [[end]] = self._ask(END)
            self._ends.append((end, len(bodies)))

    def unsettled(self, name: str) -> int | None:  # noqa: ARG002
        try:
            [[confirmed]] = self._ask(CONFIRMED, self._slot)
        except psycopg.OperationalError:
            return None
        return sum(count for end, count in self._ends if end > confirmed)

    def close(self) -> None:
        super().close()
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_drop_replication_slot(%s)", (self._slot,))
