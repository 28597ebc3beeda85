"""Romeways's connectors, and how each becomes a queue of a configuration."""

from __future__ import annotations

import asyncio
import queue as standard
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar

from penstock.connectors import Consumer, ProduceError, Producer, QueueMessage, Record
from penstock_compat.romeways.configs import (
    GenericConnectorConfig,
    GenericQueueConfig,
    KafkaConnectorConfig,
    KafkaQueueConfig,
    MemoryQueueConfig,
)

LOOK = 0.05  # seconds between two looks into a queue that cannot wake its reader


class AQueueConnector(ABC):
    """A connector of your own, as Romeways has it: derive from this.

    What `get_messages` returned is gone from the queue, so it is sent back when a handler fails for good or the worker
    stops; a worker that is killed loses what it holds.
    """

    # A queue that other processes keep: what a worker holds when it is killed comes again.
    durable: ClassVar[bool] = False

    def __init__(self, connector_config: Any, config: Any) -> None:
        self._connector_config = connector_config
        self._config = config

    async def on_start(self) -> None:  # noqa: B027  (only some have something to open)
        """Called before the first retrieval."""

    @abstractmethod
    async def get_messages(self, max_chunk_size: int) -> list[bytes]:
        """At most so many messages; an empty list if there are none."""

    @abstractmethod
    async def send_messages(self, message: bytes) -> None:
        """Send one message to the queue."""

    @classmethod
    def queue(cls, name: str, connector: GenericConnectorConfig, config: GenericQueueConfig) -> dict[str, Any]:
        """The queue for a configuration."""
        own = cls(connector, config)
        consumer = type(cls.__name__, (_Consumer,), {"own": own})
        producer = type(cls.__name__, (_Producer,), {"own": own})
        return {"value": name, "consumer": consumer, "producer": producer}


class MemoryQueueConnector(AQueueConnector):
    """`multiprocessing.Queue` objects."""

    _config: MemoryQueueConfig

    async def get_messages(self, max_chunk_size: int) -> list[bytes]:
        """See `AQueueConnector.get_messages`."""
        found: list[bytes] = []
        assert self._config.queue is not None  # noqa: S101  (for type checkers)
        try:
            while len(found) < abs(max_chunk_size):
                message = self._config.queue.get_nowait()
                found.append(message.encode() if isinstance(message, str) else message)
        except standard.Empty:
            pass
        return found

    async def send_messages(self, message: bytes) -> None:
        """See `AQueueConnector.send_messages`."""
        assert self._config.queue is not None  # noqa: S101  (for type checkers)
        self._config.queue.put_nowait(message)


class KafkaQueueConnector(AQueueConnector):
    """Kafka, by Penstock's connector: what was handled is committed, nothing before."""

    durable = True

    async def get_messages(self, max_chunk_size: int) -> list[bytes]:
        """Not called: Penstock's connector reads."""
        raise NotImplementedError

    async def send_messages(self, message: bytes) -> None:
        """Not called: Penstock's connector sends."""
        raise NotImplementedError

    @classmethod
    def queue(cls, name: str, connector: GenericConnectorConfig, config: GenericQueueConfig) -> dict[str, Any]:  # noqa: ARG003
        """See `AQueueConnector.queue`."""
        if not isinstance(connector, KafkaConnectorConfig) or not isinstance(config, KafkaQueueConfig):
            raise TypeError("a KafkaQueueConnector needs a KafkaConnectorConfig, and queues with a KafkaQueueConfig")
        servers = connector.bootstrap_server
        options = {
            "bootstrap.servers": servers if isinstance(servers, str) else ",".join(servers),
            "client.id": connector.client_id,
            "group.id": config.group_id,
        }
        return {"connector": "kafka", "value": config.topic, "config": options}


@dataclass(slots=True, frozen=True)
class PenstockConnectorConfig(GenericConnectorConfig):
    """Any queue of Penstock, under Romeways's names.

    Attributes:
        settings: What a configuration says of a queue: `{"connector": "sqlite", "config": {"path": "shop.db"}}`.
    """

    settings: dict[str, Any]


class PenstockConnector(KafkaQueueConnector):
    """Any connector of Penstock."""

    @classmethod
    def queue(cls, name: str, connector: GenericConnectorConfig, config: GenericQueueConfig) -> dict[str, Any]:  # noqa: ARG003
        """See `AQueueConnector.queue`."""
        if not isinstance(connector, PenstockConnectorConfig):
            raise TypeError("a PenstockConnector needs a PenstockConnectorConfig")
        return {"value": name, **connector.settings}


class _Consumer(Consumer):
    own: AQueueConnector

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._held: set[QueueMessage] = set()
        self._count = 0

    async def connect(self) -> None:
        await self.own.on_start()

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        until = monotonic() + timeout
        while True:
            if max_messages and (bodies := await self.own.get_messages(max_messages)):
                messages = [self._message(body) for body in bodies]
                self._held.update(messages)
                return messages
            if monotonic() > until:
                return ()
            await asyncio.sleep(LOOK)

    def _message(self, body: bytes) -> QueueMessage:
        self._count += 1
        return QueueMessage(None, body, position=str(self._count))

    async def on_success(self, messages: Sequence[QueueMessage]) -> None:
        self._held.difference_update(messages)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        for message in messages:
            await self.own.send_messages(message.message or b"")
            self._held.discard(message)

    async def shutdown(self) -> None:
        await self.on_fail(list(self._held))


class _Producer(Producer):
    own: AQueueConnector

    async def connect(self) -> None:
        """The consumer has started the connector."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        for record in records:
            await self.own.send_messages(record.message or b"")
        return [None] * len(records)

    async def shutdown(self) -> None:
        """The connector has nothing to close."""
