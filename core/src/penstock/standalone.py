"""Queues without an engine, for tools: conformance tests, browsers of dead letters, dashboards.

    orders = resolve({"connector": "kafka", "value": "orders", "config": {"bootstrap.servers": "localhost"}}, "input")
    async with InputQueue(orders) as queue:
        messages = await queue.consume(100, timeout=1.0)

`make_consumer` and `make_producer` give the connector alone: without decoding, and without connecting again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.capabilities import Capabilities
from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.connectors import Consumer, Producer
from penstock.envelope import uses_envelope
from penstock.message import QueueMessage
from penstock.options import Role
from penstock.queues import adapters
from penstock.queues.packing import open_envelope
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.queues.resolved_queue import ResolvedQueue

__all__ = [
    "InputQueue",
    "OutputQueue",
    "ResolvedQueue",
    "make_consumer",
    "make_producer",
    "open_envelopes",
    "resolve",
]


def resolve(settings: Mapping[str, Any], role: Role, environment: Mapping[str, str] = os.environ) -> ResolvedQueue:
    """Check the settings of one queue, as a configuration has them, and find its connector. Connects nowhere.

    Args:
        settings: The queue's keys. `name` may be left out.
        role: "input" or "output".
        environment: Where options find their environment variables.

    Raises:
        ConfigError: with every problem of the settings.
    """
    named = {"name": "queue", **settings}
    configuration = load([named])
    registry = registry_for(configuration)
    return resolve_queue(configuration, named["name"], role, registry=registry, environment=environment)


def make_consumer(queue: ResolvedQueue) -> Consumer:
    """The queue's consumer, not connected. One that blocks is wrapped so that it runs on threads."""
    return adapters.make_consumer(queue.connector_class, queue.value, queue.options)


def make_producer(queue: ResolvedQueue) -> Producer:
    """The queue's producer, not connected. One that blocks is wrapped so that it runs on a thread."""
    return adapters.make_producer(queue.connector_class, queue.value, queue.options)


def open_envelopes(messages: Iterable[QueueMessage], capabilities: Capabilities) -> None:
    """Take body, key and headers out of the envelopes that a connector with these capabilities needs.

    Raises:
        DecodeError: an envelope is damaged.
    """
    if uses_envelope(capabilities):
        for message in messages:
            open_envelope(message)
