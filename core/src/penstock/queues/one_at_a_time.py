"""Connectors that are written one message at a time, made batch-wise and asynchronous."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import to_json

from penstock.connectors import Consumer, Producer
from penstock.dead_letters import error_text
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.message import QueueMessage, Record
from penstock.queues.plain_bodies import PlainBody
from penstock.queues.threads import DaemonThreadPool

log = logging.getLogger("penstock")


class LegacyConnector:
    """What both sides share: a foreign class that is made, called and shut down on one thread."""

    def __init__(self, connector_class: type[Any], name: str, options: Any, thread: DaemonThreadPool) -> None:
        self.class_name = connector_class.__qualname__
        self._class = connector_class
        self._name = name
        self._options = options
        self._thread = thread
        self._made: Any = None

    @property
    def connector(self) -> Any:
        """What was made of the class.

        Raises:
            NotConnected: nothing, or not again yet.
        """
        if self._made is None:
            raise NotConnected(f"{self.class_name} is not connected")
        return self._made

    async def connect(self) -> None:
        """Make the connector: its constructor is all it has to connect. A second time makes a second one."""
        await self._thread.submit(self._connect)

    def _connect(self) -> None:
        try:
            self._shut_down()
        except ConnectorError as error:
            # It lost its connection, so that this fails is expected; the new one is what counts.
            log.info("queue %r: the old connector did not close cleanly: %s", self._name, error)
        config = dict(self._options or {})
        host = config.pop("host", None)
        self._made = self.call("()", self._class, queue_name=self._name, host=host, config=config)
        if getattr(self._made, "callback_delivery", False):
            raise FatalConnectorError(
                f"{self.class_name} confirms by callbacks, which Penstock would take for confirmed at once; let "
                f"produce() wait and return True, or derive it from penstock.Producer"
            )

    def call(self, what: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call foreign code, and name whatever it raises."""
        try:
            return function(*arguments, **keywords)
        except (ConnectorError, KeyboardInterrupt):
            raise
        except BaseException as error:
            text = f"{self.class_name}{what} raised {type(error).__name__}: {error_text(error)}"
            # What a socket raises when the other side is away. Nothing more is known about other errors.
            away = isinstance(error, (ConnectionError, TimeoutError))
            raise (NotConnected(text) if away else ConnectorError(text)) from error

    async def shutdown(self) -> None:
        """Shut it down, if it was ever made."""
        try:
            await self._thread.submit(self._shut_down)
        finally:
            self._thread.close()

    def _shut_down(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            self.call(".shutdown()", made.shutdown)


class OneAtATimeConsumer(Consumer):
    """Runs a class written one message at a time.

    Such a class is made as `MyConsumer(queue_name, host, config)` and has `consume() -> QueueMessage | None`, which
    does not wait, `on_success(message_context)` (or `delete`), `on_fail(message_context)` and `shutdown()`. It is made
    and called on one thread. A body that is neither bytes nor text is written as JSON. A builtin `ConnectionError` or
    `TimeoutError` counts as `NotConnected`; then it is shut down and made anew.
    """

    IDLE_WAIT = 0.05  # seconds between two looks at an empty queue: such a class cannot wait for messages by itself

    def __init__(self, connector_class: type[Any], name: str, options: Any) -> None:
        super().__init__(name, options)
        self._thread = DaemonThreadPool(f"penstock-consume-{name}")
        self._legacy = LegacyConnector(connector_class, name, options, self._thread)
        self._success = "on_success" if hasattr(connector_class, "on_success") else "delete"
        # Messages of a call that was interrupted half-way: they are not settled again when it is repeated.
        self._settled: set[QueueMessage] = set()

    async def connect(self) -> None:
        await self._legacy.connect()

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            messages = await self._thread.submit(self._take) if max_messages else []
            if messages or asyncio.get_running_loop().time() >= deadline:
                return messages
            await asyncio.sleep(self.IDLE_WAIT)

    def _take(self) -> list[QueueMessage]:
        # One a call: a class that holds a database transaction for each message could not hold hundreds.
        message = self._legacy.call(".consume()", self._legacy.connector.consume)
        return [] if message is None else [self._as_queue_message(message)]

    def _as_queue_message(self, message: Any) -> QueueMessage:
        try:
            body = self._as_bytes(message.message)
            if not isinstance(message, QueueMessage):
                return QueueMessage(message_context=message.message_context, message=body)
        except AttributeError as error:
            raise ConnectorError(
                f"{self._legacy.class_name}.consume() returned a {type(message).__name__}; it must return a "
                f"penstock.QueueMessage, or None"
            ) from error
        message.message = body
        return message

    def _as_bytes(self, body: Any) -> bytes | None:
        """The body as bytes: a database row, for example, becomes the JSON that a model handler reads."""
        if body is None or isinstance(body, bytes):
            return body
        if isinstance(body, (bytearray, memoryview)):
            return bytes(body)
        written: bytes = (
            body.encode() if isinstance(body, str) else self._legacy.call(".consume()'s body", to_json, body)
        )
        return written

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        await self._thread.submit(self._each, self._success, messages)
        return None

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        await self._thread.submit(self._each, "on_fail", messages)

    def _each(self, method: str, messages: Sequence[QueueMessage]) -> None:
        call = getattr(self._legacy.connector, method)
        for message in messages:
            if message not in self._settled:
                self._legacy.call(f".{method}()", call, message.message_context)
                self._settled.add(message)
        self._settled.difference_update(messages)

    async def shutdown(self) -> None:
        await self._legacy.shutdown()


KEYWORDS = ("key", "headers", "delay")
"""What `produce` gets of a record beside its body and its options, each if it has any."""


def keywords_of(connector_class: type[Any]) -> frozenset[str] | None:
    """The keywords that a class's `produce` takes beside queue name, message and context; None if it takes any."""
    try:
        parameters = list(inspect.signature(connector_class.produce).parameters.values())
    except (TypeError, ValueError):
        return None  # written in C, without a signature: a wrong argument shows when it is called
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    bound = not isinstance(inspect.getattr_static(connector_class, "produce"), staticmethod)
    given = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    first = {each.name for each in given[: 4 if bound else 3]}
    return frozenset(
        each.name
        for each in parameters
        if each.name not in first and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    )


class OneAtATimeProducer(Producer):
    """Runs a class written one message at a time.

    Such a class is made as `MyProducer(queue_name, host, config)` and has
    `produce(queue_name, message, message_context, **options) -> bool` and `shutdown()`. It is made and called on one
    thread. A key, headers or a delay come among the options. `message` is bytes, or plain data where the queue has no
    serializer and the class says `plain_data = True`. Whatever `produce` raises, and every result that is not
    true, means that the record is not stored and is sent again.
    """

    def __init__(self, connector_class: type[Any], name: str, options: Any) -> None:
        super().__init__(name, options)
        self.keywords = keywords_of(connector_class)
        self.plain_data = bool(getattr(connector_class, "plain_data", False))
        self._thread = DaemonThreadPool(f"penstock-produce-{name}")
        self._legacy = LegacyConnector(connector_class, name, options, self._thread)

    async def connect(self) -> None:
        await self._legacy.connect()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        if self._thread.closed:
            raise ConnectorError("the producer is shut down")
        return await self._thread.submit(self._each, records)

    def _each(self, records: Sequence[Record]) -> list[ProduceError | None]:
        results: list[ProduceError | None] = []
        for record in records:
            try:
                results.append(self._one(record))
            except NotConnected as error:
                if not results:
                    raise
                # Those before it are stored, and must not be sent again with the rest.
                rest = len(records) - len(results)
                return results + [ProduceError(str(error))] * rest
        return results

    def _one(self, record: Record) -> ProduceError | None:
        options = dict(record.options or ())
        if record.key is not None:
            options["key"] = record.key
        if record.headers:
            options["headers"] = record.headers
        if record.delay:
            options["delay"] = record.delay
        body = record.message
        message = body.data if isinstance(body, PlainBody) else body
        produce = self._legacy.connector.produce
        try:
            done = self._legacy.call(".produce()", produce, self.name, message, None, **options)
        except (NotConnected, FatalConnectorError):
            raise
        except ProduceError as error:
            return error
        except ConnectorError as error:
            return ProduceError(str(error))
        if done:
            return None
        return ProduceError(f"{self._legacy.class_name}.produce() returned {done!r}, not True")

    async def shutdown(self) -> None:
        await self._legacy.shutdown()
