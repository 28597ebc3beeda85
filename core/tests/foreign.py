"""Connectors as the reference documents them: one message at a time, deriving from nothing of Penstock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from penstock.connectors import Consumer, Producer
from penstock.message import QueueMessage
from penstock.queues.adapters import make_consumer, make_producer

WAIT = 10.0  # seconds after which something that should happen has not


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """On an event loop of its own, and not for ever. The connector's threads have ended when this returns."""

    async def bounded() -> Any:
        async with asyncio.timeout(WAIT):
            return await coroutine

    result = asyncio.run(bounded())
    for thread in threading.enumerate():
        if thread.name.startswith("penstock-") and thread.name.endswith("-rows"):
            thread.join(WAIT)
            assert not thread.is_alive(), thread.name
    return result


class Table:
    """What stands for the backend: rows, what was asked of it and by which thread, and what shall fail."""

    def __init__(self, *rows: Any) -> None:
        self.rows = list(rows)
        self.made_with: list[tuple[str, Any, dict[str, Any]]] = []
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.failures: dict[str, list[BaseException]] = {}

    def ask(self, what: str, about: str = "") -> None:
        self.asked.append(f"{what} {about}".strip())
        self.threads.add(threading.get_ident())
        if waiting := self.failures.get(what) or self.failures.get(f"{what} {about}"):
            raise waiting.pop(0)

    def count(self, what: str) -> int:
        return sum(each.partition(" ")[0] == what for each in self.asked)


class Foreign:
    """How the reference's classes are made: by name, host and config."""

    def __init__(self, queue_name: str, host: str | None = None, config: dict[str, Any] | None = None) -> None:
        config = dict(config or {})
        self.table: Table = config.pop("table")
        self.table.made_with.append((queue_name, host, config))
        self.table.ask("make")

    def shutdown(self) -> None:
        self.table.ask("shutdown")


class Row:
    """A message that knows nothing of Penstock: two attributes are all it takes."""

    def __init__(self, message_context: Any, message: bytes) -> None:
        self.message_context = message_context
        self.message = message


class RowConsumer(Foreign):
    """As the reference's page on plugins has it."""

    def consume(self) -> Any:
        self.table.ask("consume")
        return Row(f"#{self.table.rows[0].decode()}", self.table.rows.pop(0)) if self.table.rows else None

    def on_success(self, message_context: Any) -> None:
        self.table.ask("on_success", message_context)

    def on_fail(self, message_context: Any) -> None:
        self.table.ask("on_fail", message_context)


class DeletingConsumer(Foreign):
    """As the reference's list of functions has it: `delete`, and the product's own QueueMessage."""

    def consume(self) -> QueueMessage | None:
        self.table.ask("consume")
        return QueueMessage("#1", self.table.rows.pop(0), key=b"k") if self.table.rows else None

    def delete(self, message_context: Any) -> bool:
        self.table.ask("delete", message_context)
        return True

    def on_fail(self, message_context: Any) -> None:
        self.table.ask("on_fail", message_context)


class RowProducer(Foreign):
    """Stores everything."""

    def produce(self, queue_name: str, message: bytes, message_context: Any, **options: Any) -> Any:
        self.table.ask("produce", f"{queue_name} {message!r} {message_context} {options}")
        return True


async def consumer_of(table: Table, connector_class: type = RowConsumer, **config: Any) -> Consumer:
    """Made and connected."""
    consumer = make_consumer(connector_class, "rows", {"table": table, **config})
    await consumer.connect()
    return consumer


async def producer_of(table: Table, connector_class: type = RowProducer, **config: Any) -> Producer:
    """Made and connected."""
    producer = make_producer(connector_class, "rows", {"table": table, **config})
    await producer.connect()
    return producer
