"""What the tests of this plugin share: options for the test server, connectors that are opened and closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from rsmq import RedisSMQ
from tests.servers.redis import RedisServer

from penstock.config.files import load
from penstock.config.model import QueueConfig
from penstock.config.resolve import registry_for, resolve_queue
from penstock.connectors import Consumer, Producer
from penstock.queues.queue import OutputQueue
from penstock_rsmq.consumer import RsmqConsumer
from penstock_rsmq.options import RsmqOptions
from penstock_rsmq.producer import RsmqProducer


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


@pytest.fixture
def pyrsmq(raw: redis.Redis, queue: str) -> RedisSMQ:
    """PyRSMQ on the queue of the test."""
    return RedisSMQ(client=raw, qname=queue)


class Opener:
    """Opens connectors on the queue of the test: `async with open.consumer(vt=1) as consumer`."""

    def __init__(self, server: RedisServer, queue: str) -> None:
        self._server = server
        self._queue = queue

    def options(self, **overrides: Any) -> RsmqOptions:
        """Options for the test server, or for another address if `host` or `url` is given."""
        where = {} if overrides.keys() & {"host", "url"} else {"url": self._server.url}
        return RsmqOptions(**{"poll_interval": 0.02, "maxsize": -1, **where, **overrides})

    def through(self, host: str, port: int) -> dict[str, Any]:
        """Options for the test server by another address, that of a proxy before it."""
        parts = urlsplit(self._server.url)
        return {
            "host": host,
            "port": port,
            "db": int(parts.path.strip("/") or 0),
            "username": parts.username or None,
            "password": parts.password,
        }

    @asynccontextmanager
    async def consumer(self, **overrides: Any) -> AsyncIterator[RsmqConsumer]:
        async with _opened(RsmqConsumer(overrides.pop("queue", self._queue), self.options(**overrides))) as consumer:
            yield consumer

    @asynccontextmanager
    async def producer(self, **overrides: Any) -> AsyncIterator[RsmqProducer]:
        async with _opened(RsmqProducer(overrides.pop("queue", self._queue), self.options(**overrides))) as producer:
            yield producer

    def output_queue(self) -> OutputQueue:
        """The queue of the test as an engine opens it for its outputs."""
        configuration = load([QueueConfig(name=self._queue, connector="rsmq", config={"url": self._server.url})])
        return OutputQueue(resolve_queue(configuration, self._queue, "output", registry=registry_for(configuration)))


@asynccontextmanager
async def _opened(connector: Any) -> AsyncIterator[Any]:
    assert isinstance(connector, Consumer | Producer)
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
    """`await consumed(consumer, 3)`: consume until so many messages are there, at most 10 s."""

    async def consume(consumer: Consumer, count: int, at_once: int = 100) -> list[Any]:
        messages: list[Any] = []
        for _ in range(1000):
            if len(messages) >= count:
                return messages
            got = await consumer.consume(min(at_once, count - len(messages)), 10.0)
            if not got:
                break
            messages += got
        raise AssertionError(f"{len(messages)} of {count} messages came in 10 s")

    return consume
