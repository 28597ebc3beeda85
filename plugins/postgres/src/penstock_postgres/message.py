"""One delivery out of a table, with what it takes to settle it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from penstock.errors import DecodeError
from penstock.headers import load_headers
from penstock.message import Headers, QueueMessage

LOST = UUID(int=0)  # no delivery has this token, so it fences every statement
_ONE_OWNER = 64  # bits at the end of a token in which the tokens of one consumer differ


def tokens() -> Iterator[UUID]:
    """The tokens of one consumer: each is new, and they begin alike, so that it knows its own again."""
    first = uuid4().int >> _ONE_OWNER << _ONE_OWNER
    return (UUID(int=first + number) for number in count(1))


def abandoned(last_lease: UUID | None, unended_calls: int, token: UUID) -> int:
    """What `QueueMessage.abandoned` says of a delivery.

    Args:
        last_lease: The token of the last delivery, if that was neither settled nor requeued.
        unended_calls: Recorded by `begin_call`, and not ended.
        token: This delivery's.
    """
    if last_lease is not None and last_lease.int >> _ONE_OWNER == token.int >> _ONE_OWNER:
        return 0  # our own lease ended, and we live
    return 1 + unended_calls if last_lease is not None or unended_calls else 0


def readable_headers(written: str | None) -> Headers:
    """Header pairs. Damaged ones, which only another program can have written, count as none."""
    try:
        return load_headers(written)
    except DecodeError:
        return ()


class PostgresMessage(QueueMessage):
    """One delivery; `message_context` is the row's id, of a row of the user's as text; `position` is always text.

    Attributes:
        token: This delivery's, in the row as long as the row is ours.
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
        # Not through super(): this runs for every message.
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
    def position(self) -> str:  # type: ignore[override]  # made when somebody asks
        """The row's id."""
        return str(self.message_context)
