"""Makes every accepted form of connector look like the asynchronous, batch-wise contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from penstock.connectors import BlockingConsumer, BlockingProducer, Consumer, Producer
from penstock.errors import ConfigError, ProduceError
from penstock.message import QueueMessage, Record
from penstock.threads import Threads

T = TypeVar("T")


class ThreadedConsumer(Consumer):
    """Gives a `BlockingConsumer` its two threads."""

    def __init__(self, blocking: BlockingConsumer) -> None:
        super().__init__(blocking.name, blocking.options)
        self._blocking = blocking
        self._consuming = Threads(f"penstock-consume-{blocking.name}")
        self._settling = Threads(f"penstock-settle-{blocking.name}")
        self.keep_polling = blocking.keep_polling  # type: ignore[misc]  # the wrapped class's own, not this one's

    async def connect(self) -> None:
        await self._consuming.submit(self._blocking.connect)
        self.lease = self._blocking.lease

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return await self._consuming.submit(self._blocking.consume, max_messages, timeout)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        return await self._settling.submit(self._blocking.on_success, messages)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        await self._settling.submit(self._blocking.on_fail, messages, delay)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        await self._settling.submit(self._blocking.extend, messages)

    async def lag(self) -> int | None:
        return await self._settling.submit(self._blocking.lag)

    async def shutdown(self) -> None:
        try:
            await self._consuming.submit(self._blocking.shutdown)
        finally:
            self._consuming.close()
            self._settling.close()


class ThreadedProducer(Producer):
    """Gives a `BlockingProducer` its thread."""

    def __init__(self, blocking: BlockingProducer) -> None:
        super().__init__(blocking.name, blocking.options)
        self._blocking = blocking
        self._thread = Threads(f"penstock-produce-{blocking.name}")

    async def connect(self) -> None:
        await self._thread.submit(self._blocking.connect)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return await self._thread.submit(self._blocking.produce, records)

    async def shutdown(self) -> None:
        try:
            await self._thread.submit(self._blocking.shutdown)
        finally:
            self._thread.close()


class OneAtATimeConsumer(Consumer):
    """Runs a class written one message at a time.

    Such a class is made as `MyConsumer(queue_name, host, config)` and has `consume() -> QueueMessage | None`, which does
    not wait, `on_success(message_context)` (or `delete`), `on_fail(message_context)` and `shutdown()`. All its calls run on
    one thread.
    """

    IDLE_WAIT = 0.05  # seconds between two looks at an empty queue: such a class cannot wait for messages by itself

    def __init__(self, connector: Any, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._connector = connector
        self._settle: Callable[[Any], Any] = getattr(connector, "on_success", None) or connector.delete
        self._thread = Threads(f"penstock-consume-{name}")

    async def connect(self) -> None:
        pass

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            messages = await self._thread.submit(self._take, max_messages)
            if messages or asyncio.get_running_loop().time() >= deadline:
                return messages
            await asyncio.sleep(self.IDLE_WAIT)

    def _take(self, max_messages: int) -> list[QueueMessage]:
        messages: list[QueueMessage] = []
        # A class that holds a database transaction a message should not be asked for hundreds before the first is settled.
        while len(messages) < min(max_messages, 1):
            message = self._connector.consume()
            if message is None:
                break
            messages.append(_as_queue_message(message))
        return messages

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        await self._thread.submit(self._each, self._settle, messages)
        return None

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        await self._thread.submit(self._each, self._connector.on_fail, messages)

    @staticmethod
    def _each(call: Callable[[Any], Any], messages: Sequence[QueueMessage]) -> None:
        for message in messages:
            call(message.message_context)

    async def shutdown(self) -> None:
        try:
            await self._thread.submit(self._connector.shutdown)
        finally:
            self._thread.close()


class OneAtATimeProducer(Producer):
    """Runs a class written one message at a time.

    Such a class is made as `MyProducer(queue_name, host, config)` and has
    `produce(queue_name, message, message_context, **options) -> bool` and `shutdown()`.
    """

    def __init__(self, connector: Any, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._connector = connector
        self._thread = Threads(f"penstock-produce-{name}")

    async def connect(self) -> None:
        pass

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return await self._thread.submit(self._each, records)

    def _each(self, records: Sequence[Record]) -> list[ProduceError | None]:
        return [self._one(record) for record in records]

    def _one(self, record: Record) -> ProduceError | None:
        options = dict(record.options or ())
        if record.key is not None:
            options["key"] = record.key
        if record.headers:
            options["headers"] = record.headers
        if record.delay:
            options["delay"] = record.delay
        try:
            done = self._connector.produce(self.name, record.message, None, **options)
        except Exception as error:  # noqa: BLE001  (whatever a foreign class raises, this record is not stored)
            return ProduceError(f"{type(self._connector).__name__}.produce raised {type(error).__name__}: {error}")
        return None if done else ProduceError(f"{type(self._connector).__name__}.produce returned {done!r}")

    async def shutdown(self) -> None:
        try:
            await self._thread.submit(self._connector.shutdown)
        finally:
            self._thread.close()


def make_consumer(connector_class: type, name: str, options: Any) -> Consumer:
    """A consumer of any accepted form as a `Consumer`.

    Raises:
        ConfigError: the class is none of the accepted forms.
    """
    if issubclass(connector_class, Consumer):
        return connector_class(name, options)
    if issubclass(connector_class, BlockingConsumer):
        return ThreadedConsumer(connector_class(name, options))
    settles = hasattr(connector_class, "on_success") or hasattr(connector_class, "delete")
    if settles and all(hasattr(connector_class, method) for method in ("consume", "on_fail", "shutdown")):
        return OneAtATimeConsumer(_make_reference_style(connector_class, name, options), name, options)
    raise ConfigError(
        f"{connector_class.__module__}.{connector_class.__qualname__} is no consumer: derive it from penstock.Consumer "
        f"or penstock.BlockingConsumer, or give it consume, on_success, on_fail and shutdown"
    )


def make_producer(connector_class: type, name: str, options: Any) -> Producer:
    """A producer of any accepted form as a `Producer`.

    Raises:
        ConfigError: the class is none of the accepted forms.
    """
    if issubclass(connector_class, Producer):
        return connector_class(name, options)
    if issubclass(connector_class, BlockingProducer):
        return ThreadedProducer(connector_class(name, options))
    if all(hasattr(connector_class, method) for method in ("produce", "shutdown")):
        return OneAtATimeProducer(_make_reference_style(connector_class, name, options), name, options)
    raise ConfigError(
        f"{connector_class.__module__}.{connector_class.__qualname__} is no producer: derive it from penstock.Producer "
        f"or penstock.BlockingProducer, or give it produce and shutdown"
    )


def _make_reference_style(connector_class: type, name: str, options: Any) -> Any:
    config = dict(options or {})
    return connector_class(queue_name=name, host=config.pop("host", None), config=config)


def _as_queue_message(message: Any) -> QueueMessage:
    if isinstance(message, QueueMessage):
        return message
    return QueueMessage(message_context=message.message_context, message=message.message)
