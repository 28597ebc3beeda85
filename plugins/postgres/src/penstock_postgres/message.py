"""One delivery of a row, with its token."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from penstock.errors import DecodeError
from penstock.headers import load_headers
from penstock.message import Headers, QueueMessage

_COUNTER_BITS = 64  # the tokens of one consumer differ only in these last bits


def tokens() -> Iterator[UUID]:
    """The tokens of one consumer. They begin with the same bits, so that it recognizes its own."""
    first = uuid4().int >> _COUNTER_BITS << _COUNTER_BITS
    return (UUID(int=first + number) for number in count(1))


def abandoned(last_lease: UUID | None, unended_calls: int, token: UUID) -> int:
    """The value of `QueueMessage.abandoned`.

    Args:
        last_lease: The token of the last delivery, if it was neither settled nor requeued.
        unended_calls: Calls that `begin_call` recorded and nothing ended.
        token: The token of this delivery.
    """
    if last_lease is not None and last_lease.int >> _COUNTER_BITS == token.int >> _COUNTER_BITS:
        return 0  # our own lease ended, but this process did not
    return 1 + unended_calls if last_lease is not None or unended_calls else 0


def readable_headers(written: str | None) -> Headers:
    """Header pairs; none if they are damaged, which only another program can have done."""
    try:
        return load_headers(written)
    except DecodeError:
        return ()


class PostgresMessage(QueueMessage):
    """One delivery. `message_context` is the row's id, which is text for a user's table.

    Attributes:
        token: Stands in the row as long as this delivery is ours.
    """

    __slots__ = ("_headers", "_written_headers", "token")

    def __init__(
        self,
        row_id: Any,
        message: bytes | None,
        key: bytes | None,
        written_headers: str | None,
        timestamp: float | None,
        attempts: int,
        token: UUID,
        abandoned: int | None,
    ) -> None:
        # Without super(), because this runs for every message.
        self.message_context = row_id
        self.message = message
        self.key = key
        self.timestamp = timestamp
        self.attempts = attempts
        self.token = token
        self.abandoned = abandoned
        self._written_headers = written_headers
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:
        """See `readable_headers`."""
        if self._headers is None:
            self._headers = readable_headers(self._written_headers)
        return self._headers

    @headers.setter
    def headers(self, headers: Headers) -> None:
        self._headers = headers

    @property
    def position(self) -> str:  # type: ignore[override]  # made on first use
        """The row's id."""
        return str(self.message_context)
