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
    queue = resolved(source, name, "input", browsing=True)
    _require(queue, "browse", "looking at messages without consuming them", "use the backend's own tools")
    return BrowsedQueue(queue)


def measure(source: Source | Configuration, name: str) -> BrowsedQueue:
    """The queue `name`, to count its messages by `backlog`, of its own group where there are groups; nothing changes.

    Raises:
        ConfigError: the file or the queue is missing, an option is wrong, or the connector cannot count.
    """
    queue = resolved(source, name, "input")
    _require(queue, "backlog", "counting messages without consuming them", "look at the metrics of its workers")
    return BrowsedQueue(queue)


def create(source: Source | Configuration, name: str) -> OutputQueue:
    """The queue `name`, to make it in its backend by `create`.

    Raises:
        ConfigError: the file or the queue is missing, an option is wrong, or the connector cannot make queues.
    """
    queue = resolved(source, name, "output")
    _require(queue, "create", "making a queue", "use the backend's own tools")
    return OutputQueue(queue)


def publish(source: Source | Configuration, name: str) -> OutputQueue:
    """The queue `name`, to publish to it.

    Raises:
        ConfigError: the file or the queue is missing, or an option is wrong.
    """
    return OutputQueue(resolved(source, name, "output"))


def consume(source: Source | Configuration, name: str) -> InputQueue:
    """The queue `name`, to take messages from it: opened, it is one more consumer of its group.

    Raises:
        ConfigError: the file or the queue is missing, or an option is wrong.
    """
    return InputQueue(resolved(source, name, "input"))


def resolved(source: Source | Configuration, name: str, role: Role, *, browsing: bool = False) -> ResolvedQueue:
    """The queue `name`, as a tool uses it in this role, not opened.

    Raises:
        ConfigError: the file or the queue is missing, or an option is wrong.
    """
    configuration = replace(load(source), for_tool=True)
    registry = registry_for(configuration)
    return resolve_queue(configuration, name, role, registry=registry, browsing=browsing)


def _require(queue: ResolvedQueue, capability: str, wanted_by: str, remedy: str) -> None:
    place = f"{queue.name!r} ({queue.location})" if queue.location else repr(queue.name)
    queue.capabilities.require(capability, queue=place, connector=queue.connector, wanted_by=wanted_by, remedy=remedy)
