"""The connector `rsmq` keeps every promise, on a real Redis."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

import pytest
from tests.servers.redis import RedisServer

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance

MAXSIZE = 1024  # bytes; RSMQ's smallest


class RsmqBackend(BackendFixture):
    """Queues on the test server."""

    timeout = 8.0
    idle_timeout = 0.2
    short_lease: ClassVar = {"vt": 1.0}
    cannot: ClassVar = {"lag": "RSMQ hides what is delayed as it hides what is in flight"}

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        options = {"url": self._server.url, "vt": 20.0, "poll_interval": 0.05, **over}
        return {"connector": "rsmq", "value": queue, "config": options}

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
        return {"connector": "rsmq", "value": queue, "config": {"host": "127.0.0.1", "port": port}}

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        # The limit is the queue's own, and given to it when it is created.
        return self.config(queue, maxsize=MAXSIZE), Record(bytes(MAXSIZE + 1))


class TestRsmq(ConnectorConformance):
    """A Redis that syncs every write, so that a kill takes nothing back."""

    connector = "rsmq"

    @pytest.fixture
    def backend(self, redis_server: RedisServer) -> BackendFixture:
        return RsmqBackend(redis_server)
