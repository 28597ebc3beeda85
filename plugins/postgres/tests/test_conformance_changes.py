"""The connector `postgres.changes` keeps every promise of an input, on a real PostgreSQL.

It has no output, so a producer of the tests writes logical messages, whose content is a body byte for byte.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, ClassVar

import psycopg
import pytest
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_messages import LARGEST

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance
from penstock_kit.kit import Kit

SESSION = 2.0  # seconds


class ChangesBackend(BackendFixture):
    """One slot a queue, in one database of the test server."""

    timeout = 8.0
    idle_timeout = 0.3
    frozen_after = 2 * SESSION
    # What is settled behind an unsettled message comes again with it.
    settled_late = 100
    cannot: ClassVar = {"lease": "a slot belongs to the connection that reads it; there are no leases"}

    def __init__(self, server: PostgresServer, dsn: str) -> None:
        self._server = server
        self._dsn = dsn

    def create(self, queue: str) -> None:
        slot = _slot(queue)
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"CREATE PUBLICATION {slot}")
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        slot = _slot(queue)
        options = {"dsn": self._dsn, "messages": slot, "timeout": 5.0, "session_timeout": SESSION, **over}
        return {
            "connector": "postgres.changes",
            "producer": "tests.servers.postgres_messages:LogicalMessages",
            "value": queue,
            "config": options,
        }

    def restart_backend(self) -> None:
        self._server.restart()

    def stop_backend(self) -> None:
        self._server.kill()

    def start_backend(self) -> None:
        self._server.start()

    def pause_backend(self) -> None:
        self._server.pause()

    def resume_backend(self) -> None:
        self._server.resume()

    def nowhere(self, queue: str) -> dict[str, Any]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        return self.config(queue, dsn=f"postgresql://x@127.0.0.1:{port}/x")

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(LARGEST + 1))


def _slot(queue: str) -> str:
    return queue.replace("-", "_")


class TestPostgresChanges(ConnectorConformance):
    """A PostgreSQL that syncs every commit, so that a kill takes nothing back."""

    connector = "postgres.changes"

    @pytest.fixture
    def backend(self, postgres: PostgresServer, shared_dsn: str) -> Iterator[BackendFixture]:
        with postgres.slots():
            yield ChangesBackend(postgres, shared_dsn)

    @pytest.mark.xfail(strict=True, reason="one worker reads a slot, the others stand by; divide tables among slots")
    def test_consumers_share_a_queue(self, kit: Kit) -> None:
        super().test_consumers_share_a_queue(kit)
