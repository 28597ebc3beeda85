"""Opens one queue of a configuration by its name: to look at it, to publish to it, or to take from it.

    async with browse("queues.yml", "orders-dlq") as queue:
        async for opened in queue.messages():
            print(opened.message.position, opened.value, opened.dead_letter)

Nothing is connected before the first call; a wrong option is an error with its file and line. To browse joins no group,
and needs no option that only a consumer at work needs, such as Kafka's `group.id`.
"""

from __future__ import annotations

from dataclasses import replace

from penstock.config.files import Source, load
from penstock.config.model import Configuration
from penstock.config.resolve import registry_for, resolve_queue
from penstock.options import Role
from penstock.queues.browsing import BrowsedQueue
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.queues.resolved_queue import ResolvedQueue


def browse(source: Source | Configuration, name: str) -> BrowsedQueue:
    """The queue `name`, to look at its messages; nothing changes.

    Raises:
        ConfigError: the file or the queue is missing, an option is wrong, or the connector cannot browse.
    """
    return BrowsedQueue(_resolved(source, name, "input", browsing=True))


def publish(source: Source | Configuration, name: str) -> OutputQueue:
    """The queue `name`, to publish to it.

    Raises:
        ConfigError: the file or the queue is missing, or an option is wrong.
    """
    return OutputQueue(_resolved(source, name, "output"))


def consume(source: Source | Configuration, name: str) -> InputQueue:
    """The queue `name`, to take messages from it: opened, it is one more consumer of its group.

    Raises:
        ConfigError: the file or the queue is missing, or an option is wrong.
    """
    return InputQueue(_resolved(source, name, "input"))


def _resolved(source: Source | Configuration, name: str, role: Role, *, browsing: bool = False) -> ResolvedQueue:
    configuration = replace(load(source), for_tool=True)
    registry = registry_for(configuration)
    return resolve_queue(configuration, name, role, registry=registry, browsing=browsing)
