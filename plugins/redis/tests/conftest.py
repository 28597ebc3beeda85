"""What the tests of this plugin share: options for the test server, connectors that are opened and closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from tests.servers.redis import RedisServer

from penstock.connectors import Consumer
from penstock_redis.lists.consumer import ListConsumer
from penstock_redis.lists.producer import ListProducer
from penstock_redis.options import ListOptions, PubSubOptions, StreamOptions
from penstock_redis.pubsub.consumer import PubSubConsumer
from penstock_redis.pubsub.producer import PubSubProducer
from penstock_redis.streams.consumer import StreamConsumer
from penstock_redis.streams.producer import StreamProducer

KINDS: dict[str, tuple[Any, Any, Any]] = {
    "streams": (StreamConsumer, StreamProducer, StreamOptions),
    "lists": (ListConsumer, ListProducer, ListOptions),
    "pubsub": (PubSubConsumer, PubSubProducer, PubSubOptions),
}


@pytest.fixture(autouse=True)
def no_ambient_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sets its own environment."""
    for variable in ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def queue(redis_server: RedisServer) -> str:
    """A queue name of this test's own."""
    return redis_server.queue()


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A plain client of the test server, to look behind the connector."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


class Opener:
    """Opens connectors on the queue of the test: `async with opener.consumer("streams", lease=1) as consumer`."""

    def __init__(self, server: RedisServer, queue: str) -> None:
        self._server = server
        self.queue = queue

    def make(self, kind: str, side: int, **overrides: Any) -> Any:
        """A connector that is not connected: side 0 consumes, 1 produces."""
        name = overrides.pop("queue", self.queue)
        where = {} if overrides.keys() & {"host", "url"} else {"url": self._server.url}
        return KINDS[kind][side](name, KINDS[kind][2](**{**where, **overrides}))

    @asynccontextmanager
    async def consumer(self, kind: str, **overrides: Any) -> AsyncIterator[Any]:
        async with _opened(self.make(kind, 0, **overrides)) as consumer:
            yield consumer

    @asynccontextmanager
    async def producer(self, kind: str, **overrides: Any) -> AsyncIterator[Any]:
        async with _opened(self.make(kind, 1, **overrides)) as producer:
            yield producer


@asynccontextmanager
async def _opened(connector: Any) -> AsyncIterator[Any]:
    try:
        await connector.connect()
        yield connector
    finally:
        await connector.shutdown()


@pytest.fixture
def opener(redis_server: RedisServer, queue: str) -> Opener:
    """See `Opener`."""
    return Opener(redis_server, queue)


@pytest.fixture
def consumed() -> Callable[..., Any]:
    """`await consumed(consumer, 3)`: consume until so many messages are there, at most 20 s."""

    async def consume(consumer: Consumer, count: int) -> list[Any]:
        messages: list[Any] = []
        while len(messages) < count:
            got = await consumer.consume(count - len(messages), 20.0)
            assert got, f"{len(messages)} of {count} messages came in 20 s"
            messages += got
        return messages

    return consume
