"""The connector `pubsub` keeps every promise, on a Pub/Sub in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from tests.servers.proxy import Proxy
from tests.servers.pubsub import PROJECT, PubSubServer

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance


class PubSubBackend(BackendFixture):
    """Topics with a subscription each. The server keeps nothing on disk, so outages are made on the wire before it."""

    timeout = 14.0
    short_lease: ClassVar = {"ack_deadline": 2}

    def __init__(self, server: PubSubServer, proxy: Proxy) -> None:
        self._server = server
        self._proxy = proxy

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        options = {"emulator": f"127.0.0.1:{self._proxy.port}", "project": PROJECT, "create": True}
        # What a killed worker had not even read comes again after the subscription's own deadline, at least 10 s.
        options |= {"ack_deadline": 10, "timeout": 2.0}
        if group is not None:
            options["subscription"] = f"{queue}-{group}"
        return {"connector": "pubsub", "value": queue, "config": {**options, **over}}

    def restart_backend(self) -> None:
        self._proxy.cut()
        self._proxy.heal()

    def stop_backend(self) -> None:
        self._proxy.cut()

    def start_backend(self) -> None:
        self._proxy.heal()

    def pause_backend(self) -> None:
        self._server.pause()

    def resume_backend(self) -> None:
        self._server.resume()

    def nowhere(self, queue: str) -> dict[str, Any]:
        return self.config(queue, emulator="127.0.0.1:9")

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(10_000_001))


class TestPubSub(ConnectorConformance):
    """A subscription without order and without exactly-once delivery, as most are."""

    connector = "pubsub"

    @pytest.fixture
    def backend(self, pubsub_server: PubSubServer, proxy: Callable[..., Proxy]) -> BackendFixture:
        return PubSubBackend(pubsub_server, proxy("127.0.0.1", pubsub_server.port))
