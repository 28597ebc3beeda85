"""What the tests of this plugin share: connectors that are opened and closed, a plain client, received messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiobotocore.session import get_session
from tests.servers.sqs import AwsServer

from penstock.connectors import Consumer, Producer
from penstock_aws.consumer import SqsConsumer
from penstock_aws.options import FifoOptions, SqsOptions
from penstock_aws.producer import SqsProducer


@pytest.fixture(autouse=True)
def no_ambient_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sets its own environment."""
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Opener:
    """Opens connectors on a queue of the test: `async with open.consumer(wait_time=1) as consumer`."""

    def __init__(self, server: AwsServer, queue: str) -> None:
        self.server = server
        self.queue = queue

    def options(self, **overrides: Any) -> SqsOptions:
        model = FifoOptions if self.queue.endswith(".fifo") else SqsOptions
        return model(**{**self.server.config(), "create": True, "wait_time": 1, **overrides})

    @asynccontextmanager
    async def consumer(self, **overrides: Any) -> AsyncIterator[SqsConsumer]:
        async with opened(SqsConsumer(self.queue, self.options(**overrides))) as consumer:
            yield consumer

    @asynccontextmanager
    async def producer(self, **overrides: Any) -> AsyncIterator[SqsProducer]:
        async with opened(SqsProducer(self.queue, self.options(**overrides))) as producer:
            yield producer

    @asynccontextmanager
    async def raw(self, service: str = "sqs") -> AsyncIterator[Any]:
        """A plain client of the server, to look behind the connector."""
        config = self.server.config()
        async with get_session().create_client(
            service, config["region"], endpoint_url=config["endpoint_url"],
            aws_access_key_id="test", aws_secret_access_key="test",
        ) as client:  # fmt: skip
            yield client


@asynccontextmanager
async def opened(connector: Any) -> AsyncIterator[Any]:
    assert isinstance(connector, Consumer | Producer)
    try:
        await connector.connect()
        yield connector
    finally:
        await connector.shutdown()


@pytest.fixture
def opener(sqs_server: AwsServer) -> Opener:
    """See `Opener`; a standard queue."""
    return Opener(sqs_server, sqs_server.queue())


@pytest.fixture
def fifo(sqs_server: AwsServer) -> Opener:
    """See `Opener`; a FIFO queue."""
    return Opener(sqs_server, sqs_server.queue() + ".fifo")


async def taken(consumer: Consumer, count: int, seconds: float = 20.0) -> list[Any]:
    """Consume until so many messages are there."""
    messages: list[Any] = []
    async with asyncio.timeout(seconds):
        while len(messages) < count:
            messages += await consumer.consume(count - len(messages), 1.0)
    return messages


@pytest.fixture
def consumed() -> Callable[..., Awaitable[list[Any]]]:
    """See `taken`."""
    return taken
