"""Connectors that a type checker must refuse. Each line says how."""

# ruff: noqa: ARG002  (the contracts say what the parameters are)

from __future__ import annotations

from collections.abc import Sequence

from penstock import BlockingProducer, Consumer, Producer, QueueMessage, Record, Serializer
from penstock.capabilities import Capabilities
from penstock.errors import NotConnected, ProduceError
from penstock.specs import ConnectorSpec


class Unfinished(Consumer):
    """Lacks on_fail and shutdown."""

    async def connect(self) -> None: ...

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return []

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        return None


Unfinished("queue", {})  # error: abstract


class OneAtATime(Consumer):
    """Written for another contract."""

    async def consume(self) -> QueueMessage | None:  # error: override
        return None

    async def on_fail(self, message_context: str) -> None:  # error: override
        return None


class Blocking(Producer):
    """Not asynchronous."""

    def connect(self) -> None: ...  # error: override

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:  # error: override
        return [None for _ in records]


class Boolean(BlockingProducer):
    """Answers yes or no."""

    def produce(self, records: Sequence[Record]) -> list[bool]:  # error: override
        return [True for _ in records]


class Text(Serializer):
    """Gives text where bytes are wanted."""

    def serialize(self, data: object) -> str:  # error: override
        return str(data)


Record("text")  # error: arg-type
Record(b"", key="text")  # error: arg-type
NotConnected()  # error: call-arg
Capabilities(order="key")  # error: call-arg
Capabilities(ordering="strict")  # error: arg-type
ConnectorSpec("acme", consumer=Unfinished)  # error: arg-type
