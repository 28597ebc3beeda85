"""The connector `postgres.poll` keeps every promise of an input, on a real PostgreSQL.

It has no output, so a producer of the tests writes the rows, whose column `body` is a body byte for byte.
"""

from __future__ import annotations

import socket
from typing import Any, ClassVar

import psycopg
import pytest
from psycopg import sql
from tests.servers.postgres import PostgresServer

from penstock_kit import BackendFixture, ConnectorConformance
from penstock_kit.kit import Kit

STANDS_BY = "one worker of a reader reads a table, the others stand by; divide the rows among tables"


class PollBackend(BackendFixture):
    """One table a queue, in one database of the test server."""

    timeout = 8.0
    idle_timeout = 0.3
    # What is settled behind an unsettled message comes again with it.
    settled_late = 100
    cannot: ClassVar = {
        "freeze": "the lock of a reader is its session's, which lasts as long as the process, at work or not",
    }

    def __init__(self, server: PostgresServer, dsn: str) -> None:
        self._server = server
        self._dsn = dsn

    def create(self, queue: str) -> None:
        table = sql.Identifier(_table(queue))
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE TABLE {} (id bigserial PRIMARY KEY, body bytea)").format(table))

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        options = {"dsn": self._dsn, "body": "body", "create": True, "timeout": 5.0, "poll_interval": 0.05}
        return {
            "connector": "postgres.poll",
            "producer": "tests.servers.postgres_rows:Rows",
            "value": _table(queue),
            "config": {**options, "reader": group or "penstock", **over},
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


def _table(queue: str) -> str:
    return queue.replace("-", "_")


class TestPostgresPoll(ConnectorConformance):
    """A PostgreSQL that syncs every commit, so that a kill takes nothing back."""

    connector = "postgres.poll"

    @pytest.fixture
    def backend(self, postgres: PostgresServer, shared_dsn: str) -> BackendFixture:
        return PollBackend(postgres, shared_dsn)

    @pytest.mark.xfail(strict=True, reason=STANDS_BY)
    def test_consumers_share_a_queue(self, kit: Kit) -> None:
        kit.timeout = 2.0  # what does not come is waited for so long
        super().test_consumers_share_a_queue(kit)

    @pytest.mark.xfail(strict=True, reason=STANDS_BY)
    def test_members_of_a_group_share_its_messages(self, kit: Kit) -> None:
        kit.timeout = 2.0
        super().test_members_of_a_group_share_its_messages(kit)
