"""The connectors keep every promise, on a real Redis."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pytest
import redis
from tests.servers.redis import OwnRedisServer, RedisServer

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance
from penstock_kit.kit import Kit

LARGEST = 2_000_000  # bytes of a record


class RedisBackend(BackendFixture):
    """Queues on the test server."""

    connector: ClassVar[str]

    timeout = 8.0
    idle_timeout = 0.2
    short_lease: ClassVar = {"lease": 1.0}

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        options = {"url": self._server.url, "lease": 20.0, **over}
        return {"connector": self.connector, "value": queue, "config": options}

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
        return {"connector": self.connector, "value": queue, "config": {"host": "127.0.0.1", "port": port}}


class StreamBackend(RedisBackend):
    """Streams, each group by its name."""

    connector = "redis.streams"

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        settings = super().config(queue, max_bytes=LARGEST, **over)
        if group is not None:
            settings["config"]["group"] = group
        return settings

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(LARGEST + 1))


class ListBackend(RedisBackend):
    """Lists."""

    connector = "redis.lists"

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        # The core's envelope is off here, so that a null body reaches the producer.
        return self.config(queue), Record(None)


class ChannelBackend(RedisBackend):
    """Channels."""

    connector = "redis.pubsub"
    at_most_once = True

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"connector": self.connector, "value": queue, "config": {"url": self._server.url, **over}}

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(None)


@pytest.fixture
def emptied(redis_server: RedisServer) -> Iterator[RedisServer]:
    """The server; what a test left is removed from it, so that a restart need not load it."""
    yield redis_server
    if isinstance(redis_server, OwnRedisServer):
        with redis.Redis.from_url(redis_server.url) as client:
            if client.info("memory")["used_memory"] > 20_000_000:
                client.flushdb()
                with suppress(redis.ResponseError):  # it may have begun by itself
                    client.bgrewriteaof()


class TestStreams(ConnectorConformance):
    """A Redis that syncs every write, so that a kill takes nothing back."""

    connector = "redis.streams"

    @pytest.fixture
    def backend(self, emptied: RedisServer) -> BackendFixture:
        return StreamBackend(emptied)


class TestLists(ConnectorConformance):
    """The same server."""

    connector = "redis.lists"

    @pytest.fixture
    def backend(self, emptied: RedisServer) -> BackendFixture:
        return ListBackend(emptied)


class TestChannels(ConnectorConformance):
    """The same server, which stores nothing of them."""

    connector = "redis.pubsub"

    @pytest.fixture
    def backend(self, emptied: RedisServer) -> BackendFixture:
        return ChannelBackend(emptied)

    @pytest.mark.xfail(strict=True, reason="each worker gets every message; workers of redis.streams share them")
    def test_consumers_share_a_queue(self, kit: Kit) -> None:
        super().test_consumers_share_a_queue(kit)
