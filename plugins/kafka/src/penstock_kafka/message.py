"""A message of Kafka's: what every message needs is filled in, the rest is looked up when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.message import Headers, QueueMessage

if TYPE_CHECKING:
    from confluent_kafka import Message

    from penstock.offsets import Ledger

Partition = tuple[str, int]
"""Topic and partition number."""

_NO_TIMESTAMP = 0  # confluent_kafka.TIMESTAMP_NOT_AVAILABLE


class KafkaMessage(QueueMessage):
    """One delivery of one Kafka message. Its `message_context` is the `confluent_kafka.Message`.

    Attributes:
        ledger: The assignment that it came with, where it is settled.
        offset: Its offset in its partition.
    """

    __slots__ = ("ledger", "offset")

    message_context: Message

    def __init__(
        self, context: Message, body: bytes | None, ledger: Ledger[Partition], offset: int, attempts: int = 1
    ) -> None:
        # Without the parent's constructor: it would fill four more slots, for a third of the cost of a message.
        self.message_context = context
        self.message = body
        self.ledger = ledger
        self.offset = offset
        self.attempts = attempts

    @property
    def key(self) -> bytes | None:  # type: ignore[override]  # filled on first use, as the base class allows
        """The message's key."""
        return self.message_context.key()

    @property
    def headers(self) -> Headers:  # type: ignore[override]
        """The message's headers; a null value is an empty one."""
        found: Any = self.message_context.headers()  # always a list, if there are any
        return [(name, value or b"") for name, value in found] if found else ()

    @property
    def timestamp(self) -> float | None:  # type: ignore[override]
        """When it was produced, or appended, as the topic is configured; seconds since the epoch."""
        kind, milliseconds = self.message_context.timestamp()
        return None if kind == _NO_TIMESTAMP else milliseconds / 1000

    @property
    def position(self) -> str:  # type: ignore[override]
        """Topic, partition and offset: "orders/0/42"."""
        topic, partition = self.ledger.partition
        return f"{topic}/{partition}/{self.offset}"
