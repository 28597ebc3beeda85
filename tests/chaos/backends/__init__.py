"""Queues seen by raw clients: filled, watched and read without Penstock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import (
    HTTP,
    KAFKA,
    NATS,
    POSTGRES,
    PUBSUB,
    REDIS,
    REDIS_LISTS,
    REDIS_STREAMS,
    SERVICE_BUS,
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


def open_backend(place: Place, label: str) -> Backend:
    """The backend behind a place; `label` keeps the queues of rounds apart."""
    # Imported late: a machine without one client can still try the others.
    if place.name == KAFKA:
        from tests.chaos.backends.kafka import KafkaBackend

        return KafkaBackend(place, label)
    if place.name == REDIS:
        from tests.chaos.backends.rsmq import RsmqBackend

        return RsmqBackend(place, label)
    if place.name == NATS:
        from tests.chaos.backends.nats import NatsBackend

        return NatsBackend(place, label)
    if place.name == PUBSUB:
        from tests.chaos.backends.pubsub import PubSubBackend

        return PubSubBackend(place, label)
    if place.name in (REDIS_STREAMS, REDIS_LISTS):
        from tests.chaos.backends.redis import ListsBackend, StreamsBackend

        return (StreamsBackend if place.name == REDIS_STREAMS else ListsBackend)(place, label)
    if place.name in (SERVICE_BUS, STORAGE_QUEUE):
        from tests.chaos.backends.azure import ServiceBusBackend, StorageQueueBackend

        return ServiceBusBackend(place, label) if place.name == SERVICE_BUS else StorageQueueBackend(place, label)
    if place.name == HTTP:
        from tests.chaos.backends.http import HttpBackend

        return HttpBackend(place, label)
    assert place.name == POSTGRES
    from tests.chaos.backends.postgres import PostgresBackend

    return PostgresBackend(place, label)
