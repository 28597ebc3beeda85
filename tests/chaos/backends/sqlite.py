"""Queues in a SQLite file, seen by the standard library alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from penstock_sqlite.schema import prepare
from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import NoServer, Place

BUSY = 60.0  # seconds to wait for another process's transaction


class SqliteBackend:
    """See `Backend`. A file of the round's own."""

    def __init__(self, place: Place, label: str) -> None:
        assert isinstance(place.server, NoServer)
        self._path = str(place.server.directory / f"{label}.db")
        self._connection = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
        prepare(self._connection, self._path, create=True)

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        profile = "sqlite-dlq" if dead_letters else "sqlite"
        return {"profile": profile, "value": name, "config": {"path": self._path, "lease": lease, "timeout": BUSY}}

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        self._connection.execute("BEGIN")
        with self._connection:  # commits
            rows = ((name, sent.body, sent.key) for sent in messages)
            self._connection.executemany("INSERT INTO penstock_messages (queue, body, key) VALUES (?, ?, ?)", rows)

    def count(self, name: str) -> int | None:
        query = "SELECT count(*) FROM penstock_messages WHERE queue = ?"
        return int(self._connection.execute(query, [name]).fetchone()[0])

    def unsettled(self, name: str) -> int | None:
        return self.count(name)

    def outputs(self, name: str) -> Sequence[bytes]:
        query = "SELECT body FROM penstock_messages WHERE queue = ? ORDER BY id"
        return [body for [body] in self._connection.execute(query, [name])]

    def letters(self, name: str) -> Sequence[Letter]:
        rows = self._connection.execute("SELECT body, headers FROM penstock_messages WHERE queue = ?", [name])
        return [
            Letter(body, dict(json.loads(headers or "[]")).get("penstock-error-stage", "?")) for body, headers in rows
        ]

    def close(self) -> None:
        self._connection.close()
