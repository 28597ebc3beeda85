"""The connector `postgres` keeps every promise, on a real PostgreSQL."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

import pytest
from tests.servers.postgres import PostgresServer

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance


class PostgresBackend(BackendFixture):
    """Queues in one database of the test server."""

    timeout = 8.0
    idle_timeout = 0.2
    short_lease: ClassVar = {"lease": 1.0}

    def __init__(self, server: PostgresServer, dsn: str) -> None:
        self._server = server
        self._dsn = dsn

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        options = {"dsn": self._dsn, "create": True, "lease": 20.0, "timeout": 3.0, **over}
        return {"connector": "postgres", "value": queue, "config": options}

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
        return {"connector": "postgres", "value": queue, "config": {"dsn": f"postgresql://x@127.0.0.1:{port}/x"}}

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(b"x", options={"priority": 1_000_000})


class TestPostgres(ConnectorConformance):
    """A PostgreSQL that syncs every commit, so that a kill takes nothing back."""

    connector = "postgres"

    @pytest.fixture
    def backend(self, postgres: PostgresServer, shared_dsn: str) -> BackendFixture:
        return PostgresBackend(postgres, shared_dsn)
