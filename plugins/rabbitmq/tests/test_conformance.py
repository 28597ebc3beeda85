"""The conformance kit, on a real RabbitMQ."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitmqServer

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance

SAVED_AFTER = 6.0
"""Seconds after which a node has saved the term of a new quorum queue. If RabbitMQ 3.10 is killed before, the queue has
no leader after the restart, and never answers."""


class RabbitmqBackend(BackendFixture):
    """How the kit reaches the server, and what it may do to it.

    An outage cuts the connections, and `proxy` makes that possible: the server takes some seconds to start.
    """

    timeout = 20.0  # seconds; a restart takes as long on a busy machine
    short_lease: ClassVar[Mapping[str, Any]] = {"heartbeat": 1}
    frozen_after = 4.0
    cannot: ClassVar[Mapping[str, str]] = {
        "lag": "what waits in the queues of delays is not counted; a drain leaves it there",
        "restart:test_attempts_survive_a_restart_of_the_backend": (
            "before RabbitMQ 4.3 the server also counts what a worker had fetched ahead and requeues at its end, so "
            "`attempts` may be too high; keep `retry.max_deliveries` well above the attempts"
        ),
    }

    def __init__(self, server: RabbitmqServer, connector: str, proxy: Proxy | None) -> None:
        self.server = server
        self._connector = connector
        self._proxy = proxy

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        port = self._proxy.port if self._proxy else self.server.port
        options = {"host": "127.0.0.1", "port": port, "timeout": 4.0, **over}
        return {"connector": self._connector, "value": queue, "config": options}

    def restart_backend(self) -> None:
        time.sleep(SAVED_AFTER)
        self.server.restart()

    def stop_backend(self) -> None:
        assert self._proxy is not None
        self._proxy.cut()

    def start_backend(self) -> None:
        assert self._proxy is not None
        self._proxy.heal()

    def nowhere(self, queue: str) -> dict[str, Any]:
        return self.config(queue, port=9)

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(17 * 2**20))


class TestRabbitmq(ConnectorConformance):
    connector = "rabbitmq"

    @pytest.fixture
    def backend(
        self, rabbitmq_server: RabbitmqServer, proxy: Callable[..., Proxy], request: pytest.FixtureRequest
    ) -> BackendFixture:
        stops = "outage" in request.node.name or "backend_that_is_down" in request.node.name
        return RabbitmqBackend(
            rabbitmq_server, self.connector, proxy("127.0.0.1", rabbitmq_server.port) if stops else None
        )


@pytest.mark.skipif("PENSTOCK_CONFORMANCE_FULL" not in os.environ, reason="the second suite: nox -s conformance")
class TestClassic(TestRabbitmq):
    connector = "rabbitmq.classic"
