"""Queues on the test server, and Google's own client beside the connector."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.pubsub_v1 import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from tests.servers.pubsub import PROJECT, PubSubServer

from penstock.message import QueueMessage
from penstock_gcp.consumer import PubSubConsumer
from penstock_gcp.options import PubSubOptions
from penstock_gcp.producer import PubSubProducer


class Opener:
    """Opens both ends of the topic of one test."""

    def __init__(self, server: PubSubServer, name: str) -> None:
        self.name = name
        self.server = server
        self.subscription = f"projects/{PROJECT}/subscriptions/{name}"

    def options(self, **over: Any) -> PubSubOptions:
        usual = {"emulator": self.server.address, "project": PROJECT, "create": True, "timeout": 5.0}
        return PubSubOptions(**{**usual, **over})

    @asynccontextmanager
    async def consumer(self, **over: Any) -> AsyncIterator[PubSubConsumer]:
        consumer = PubSubConsumer(self.name, self.options(**over))
        try:
            await consumer.connect()
            yield consumer
        finally:
            await consumer.shutdown()

    @asynccontextmanager
    async def producer(self, **over: Any) -> AsyncIterator[PubSubProducer]:
        producer = PubSubProducer(self.name, self.options(**over))
        try:
            await producer.connect()
            yield producer
        finally:
            await producer.shutdown()

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[SubscriberAsyncClient]:
        """Google's client, without the connector."""
        async with grpc.aio.insecure_channel(self.server.address) as channel:
            yield SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))


@pytest.fixture
def opener(pubsub_server: PubSubServer) -> Opener:
    return Opener(pubsub_server, f"t-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def consumed() -> Callable[..., Any]:
    """`await consumed(consumer, 3)`: so many messages, or as many as came within 15 s."""

    async def consume(consumer: PubSubConsumer, count: int) -> list[QueueMessage]:
        messages: list[QueueMessage] = []
        for _second in itertools.repeat(None, 15):
            messages += await consumer.consume(count - len(messages), 1.0)
            if len(messages) >= count:
                break
        return messages

    return consume
