"""Queues seen by raw clients: filled, watched and read without Penstock."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import (
    HTTP,
    KAFKA,
    KAFKA_SHARE,
    NATS,
    POSTGRES,
    POSTGRES_CHANGES,
    PUBSUB,
    RABBITMQ,
    REDIS,
    REDIS_LISTS,
    REDIS_STREAMS,
    SERVICE_BUS,
    SQLITE,
    SQS,
    STORAGE_QUEUE,
    Place,
)


class Backend(Protocol):
    """A backend with queues of one round's own, in which nothing else is."""

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        """Make a queue.

        Args:
            name: What the worker's configuration calls it.
            lease: Seconds for which the worker holds a message before another worker gets it.
            dead_letters: It takes raw bytes.

        Returns:
            What stands under its name in the worker's configuration; it leads through the proxy.
        """

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        """Put messages into a queue, in their order."""

    def count(self, name: str) -> int | None:
        """How many messages were stored in a queue, or None if that cannot be told now."""

    def unsettled(self, name: str) -> int | None:
        """How many messages of the input queue the workers have not settled; None as above."""

    def outputs(self, name: str) -> Sequence[bytes]:
        """The bodies in a queue, in its order."""

    def letters(self, name: str) -> Sequence[Letter]:
        """The dead letters in a queue."""

    def close(self) -> None:
        """Close the clients."""


MODULES = {
    KAFKA: "kafka:KafkaBackend",
    KAFKA_SHARE: "kafka:ShareBackend",
    REDIS: "rsmq:RsmqBackend",
    REDIS_STREAMS: "redis:StreamsBackend",
    REDIS_LISTS: "redis:ListsBackend",
    NATS: "nats:NatsBackend",
    PUBSUB: "pubsub:PubSubBackend",
    SERVICE_BUS: "azure:ServiceBusBackend",
    STORAGE_QUEUE: "azure:StorageQueueBackend",
    RABBITMQ: "rabbitmq:RabbitmqBackend",
    SQS: "sqs:SqsBackend",
    SQLITE: "sqlite:SqliteBackend",
    HTTP: "http:HttpBackend",
    POSTGRES: "postgres:PostgresBackend",
    POSTGRES_CHANGES: "postgres:ChangesBackend",
}
"""By the name of the place. Imported late: a machine without one client can still try the others."""


def open_backend(place: Place, label: str) -> Backend:
    """The backend behind a place; `label` keeps the queues of rounds apart."""
    module, _, name = MODULES[place.name].partition(":")
    backend: Backend = getattr(import_module(f"{__name__}.{module}"), name)(place, label)
    return backend
