"""Queues in PostgreSQL, seen by plain SQL alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any, cast

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
