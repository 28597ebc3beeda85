"""One delivery out of a table, with what it takes to settle it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from penstock.errors import DecodeError
from penstock.message import Headers, QueueMessage
from penstock_postgres import headers as header_text

LOST = UUID(int=0)  # no delivery has this token, so it fences every statement


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
    ) -> None:
        # Not through super(): this runs for every message.
        self.message_context = row_id
        self.message = message
        self.key = key
        self.timestamp = timestamp
        self.attempts = attempts
        self.token = token
        self._written_headers = written_headers
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:
        """Header pairs. Damaged ones, which only another program can have written, count as none."""
        if self._headers is None:
            try:
                self._headers = header_text.read(self._written_headers)
            except DecodeError:
                self._headers = ()
        return self._headers

    @headers.setter
    def headers(self, headers: Headers) -> None:
        self._headers = headers

    @property
    def position(self) -> str:  # type: ignore[override]  # made when somebody asks
        """The row's id."""
        return str(self.message_context)
