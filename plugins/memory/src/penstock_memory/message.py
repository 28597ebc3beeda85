"""A stored message, and one delivery of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.message import Headers, QueueMessage

if TYPE_CHECKING:
    from penstock_memory.queue import Lessee


class Entry:
    """One stored message.

    Attributes:
        number: Its place in the queue, from 1.
        attempts: Deliveries so far.
        until: When the lease of the current delivery ends, by the queue's clock.
        left_by: The lessee whose lease of the last delivery ended; None if the message was requeued.
        calls: Recorded by `Lessee.record_calls`, and not ended.
    """

    __slots__ = ("attempts", "body", "calls", "headers", "key", "left_by", "number", "timestamp", "until")

    def __init__(self, number: int, body: bytes | None, key: bytes | None, headers: Headers, timestamp: float) -> None:
        self.number = number
        self.body = body
        self.key = key
        self.headers = headers
        self.timestamp = timestamp
        self.attempts = 0
        self.until = 0.0
        self.left_by: Lessee | None = None
        self.calls = 0


class Delivery(QueueMessage):
    """One delivery of a stored message. Its `message_context` is the token."""

    __slots__ = ("_number",)

    def __init__(self, token: int, entry: Entry, abandoned: int) -> None:
        # Without the parent's constructor, which would cost one more call for each message.
        self.message_context = token
        self.message = entry.body
        self.key = entry.key
        self.headers = entry.headers
        self.timestamp = entry.timestamp
        self.attempts = entry.attempts
        self.abandoned = abandoned
        self._number = entry.number

    @property
    def position(self) -> str:  # type: ignore[override]  # made on first use, as the base class allows
        """The number of the message, as text."""
        return str(self._number)
