"""What Romeways's connectors, queues and messages are described by."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from typing import Any, Self


@dataclass(slots=True, frozen=True)
class GenericConnectorConfig:
    """A connector: how to reach a backend."""

    connector_name: str


@dataclass(slots=True, frozen=True)
class GenericQueueConfig:
    """A queue of a connector.

    Attributes:
        connector_name: The connector that it belongs to.
        frequency: Seconds between two retrievals; 0 does not wait.
        max_chunk_size: The most messages of one retrieval.
        sequential: The handler is called with one message after the other, not with those of a chunk at once.
    """

    connector_name: str
    frequency: float
    max_chunk_size: int
    sequential: bool


@dataclass(slots=True, frozen=True)
class MemoryConnectorConfig(GenericConnectorConfig):
    """The connector of `multiprocessing.Queue` objects."""


@dataclass(slots=True, frozen=True)
class MemoryQueueConfig(GenericQueueConfig):
    """A `multiprocessing.Queue`."""

    frequency: float = 1.0
    max_chunk_size: int = 10
    sequential: bool = False
    queue: Queue[Any] | None = None

    def __post_init__(self) -> None:
        if self.queue is None:
            raise TypeError("a MemoryQueueConfig needs queue=, a multiprocessing.Queue")


@dataclass(slots=True, frozen=True)
class KafkaConnectorConfig(GenericConnectorConfig):
    """A Kafka cluster."""

    bootstrap_server: str | list[str]
    client_id: str


@dataclass(slots=True, frozen=True)
class KafkaQueueConfig(GenericQueueConfig):
    """A topic, read by a consumer group."""

    topic: str
    group_id: str


class ResendException(Exception):
    """Raised by a handler: the message is sent to its queue again, counted once more."""


@dataclass(slots=True)
class Message:
    """What a handler gets.

    Attributes:
        payload: The text.
        rw_resend_times: How often it was sent again.
    """

    payload: str
    rw_resend_times: int = 0

    @classmethod
    def from_message(cls, message: bytes) -> Self:
        """Read a body: what `to_json` wrote, or any text."""
        try:
            content = json.loads(message)
            payload, times = content["payload"], content["rw_resend_times"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return cls(message.decode())
        return cls(json.dumps(payload) if isinstance(payload, dict) else payload, times)

    def raise_resend_counter(self) -> Self:
        """A copy of the message that counts one more resend."""
        return replace(self, rw_resend_times=self.rw_resend_times + 1)

    def to_json(self) -> bytes:
        """The body of a message that is sent again."""
        return json.dumps({"payload": self.payload, "rw_resend_times": self.rw_resend_times}).encode()
