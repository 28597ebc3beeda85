"""The connectors of Azure keep every promise: `storage_queue` on Azurite, `servicebus` on a double of our own.

Azurite is Microsoft's emulator. For Service Bus there is none in any package registry, so what is proved is that the
official client is used rightly, not that the service agrees; `test_servicebus.py` asks a real one once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from tests.servers.azurite import AzuriteServer
from tests.servers.proxy import Proxy
from tests.servers.servicebus import ServiceBusServer

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance, free_port


class ProxiedBackend(BackendFixture):
    """A server behind a proxy that ends and refuses connections in the place of the server."""

    def __init__(self, server: AzuriteServer | ServiceBusServer, proxy: Proxy) -> None:
        self._server = server
        self._proxy = proxy

    def restart_backend(self) -> None:
        self._proxy.reset()

    def stop_backend(self) -> None:
        self._proxy.cut()

    def start_backend(self) -> None:
        self._proxy.heal()

    def pause_backend(self) -> None:
        self._server.pause()

    def resume_backend(self) -> None:
        self._server.resume()


class StorageQueueBackend(ProxiedBackend):
    """Queues on the test server.

    Azurite writes to disk every few seconds, and takes seconds to start: `test_storage_queue.py` restarts it.
    """

    timeout = 60.0
    # A text of 64 KiB holds 48 KiB, and a dead letter has its reasons beside the body, in an envelope.
    largest_body = 24_000
    short_lease: ClassVar = {"visibility_timeout": 2}
    cannot: ClassVar = {
        "processes:test_a_blocked_worker_does_not_fill_its_memory": (
            "each of its 9,600 messages is a request; nothing is fetched ahead, a request returns what it asked for"
        )
    }

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        options = {"connection_string": self._server.connection_string(self._proxy.port), "create": True}
        options |= {"timeout": 20.0, "poll_interval": 0.1}
        return {"connector": "storage_queue", "value": queue.replace("_", "-").lower(), "config": {**options, **over}}

    def nowhere(self, queue: str) -> dict[str, Any]:
        return self.config(queue, connection_string=self._server.connection_string(free_port()))

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(48 * 1024 + 1))


class TestStorageQueue(ConnectorConformance):
    """Microsoft's own emulator."""

    connector = "storage_queue"

    @pytest.fixture
    def backend(self, azurite_server: AzuriteServer, proxy: Callable[..., Proxy]) -> BackendFixture:
        return StorageQueueBackend(azurite_server, proxy(azurite_server.host, azurite_server.port))


class ServiceBusBackend(ProxiedBackend):
    """Queues of the double, which keeps everything in memory."""

    timeout = 30.0
    # Of the 256 KiB of the Standard tier, a dead letter's headers need some.
    largest_body = 200_000

    def __init__(self, server: ServiceBusServer, proxy: Proxy) -> None:
        super().__init__(server, proxy)
        self.short_lease = {"connection_string": server.connection_string(proxy.port, name="short"), "lock_duration": 2}

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        options = {"connection_string": self._server.connection_string(self._proxy.port), "timeout": 20.0, **over}
        return {"connector": "servicebus", "value": queue, "config": options}

    def nowhere(self, queue: str) -> dict[str, Any]:
        return self.config(queue, connection_string=self._server.connection_string(free_port()))

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(300_000))


class TestServiceBus(ConnectorConformance):
    """A double of our own, with the official client."""

    connector = "servicebus"

    @pytest.fixture
    def backend(self, servicebus_server: ServiceBusServer, proxy: Callable[..., Proxy]) -> BackendFixture:
        return ServiceBusBackend(servicebus_server, proxy(servicebus_server.host, servicebus_server.port))
