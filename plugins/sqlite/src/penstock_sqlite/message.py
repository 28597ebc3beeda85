"""One delivery out of the file, with what it takes to settle it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from penstock.errors import DecodeError
from penstock.headers import load_headers
from penstock.message import Headers, QueueMessage


class SqliteMessage(QueueMessage):
    """One delivery; `message_context` is the row's id.

    Attributes:
        claim: The delivery, which stands in the row as long as the message is ours.
    """

    __slots__ = ("_header_text", "_headers", "claim")

    def __init__(self, row: int, claim: int, body: bytes | None, timestamp: float) -> None:
        # Not through super(): this runs for every message.
        self.message_context = row
        self.claim = claim
        self.message = body
        self.key = None
        self.timestamp = timestamp
        self.attempts = 1
        self.abandoned = 0
        self._header_text = b""
        self._headers: Headers | None = ()

    @property
    def headers(self) -> Headers:
        """Header pairs, read on first use."""
        if self._headers is None:
            self._headers = readable_headers(self._header_text.decode())
        return self._headers

    @headers.setter
    def headers(self, headers: Headers) -> None:
        self._headers = headers

    @property
    def position(self) -> str:  # type: ignore[override]  # made on first use
        """The row's id."""
        return str(self.message_context)

    def describe(self, consumer: int, details: Sequence[Any], keys: Parts, headers: Parts) -> None:
        """Add what most messages do not have.

        Args:
            consumer: Who takes the message.
            details: Earlier deliveries, who left the message, its recorded calls; lengths of its key and headers.
            keys, headers: Where the next key, and the next headers, are.
        """
        attempts, left_by, calls, key_length, header_length = details
        self.attempts = attempts + 1
        if left_by != consumer and (left_by is not None or calls):
            # Our own lease that ended says nothing against the message: we live.
            self.abandoned = 1 + calls
        if key_length is not None:
            self.key = keys.next(key_length)
        if header_length is not None:
            self._header_text = headers.next(header_length)
            self._headers = None


def readable_headers(text: str | None) -> Headers:
    """Header pairs; none if only another program can have written this text."""
    try:
        return load_headers(text)
    except DecodeError:
        return ()


class Parts:
    """Bytes that follow each other in one blob."""

    def __init__(self, blob: bytes | None) -> None:
        self._blob = blob or b""
        self._at = 0

    def next(self, length: int) -> bytes:
        """The next so many bytes."""
        start, self._at = self._at, self._at + length
        return self._blob[start : self._at]


def messages_of(row: Sequence[Any], claim: int, consumer: int) -> list[SqliteMessage]:
    """The messages in the one row that `statements.NEXT` answers."""
    ids, sizes, times, bodies, details, keys, headers = row
    blob, at = bodies or b"", 0
    messages = []
    for number, size, time in zip(*(json.loads(f"[{each}]") for each in (ids, sizes, times)), strict=True):
        body = None
        if size >= 0:
            body = blob[at : at + size]
            at += size
        messages.append(SqliteMessage(number, claim, body, time))
    if details != "[]":
        by_id = {message.message_context: message for message in messages}
        key_parts, header_parts = Parts(keys), Parts(headers)
        for number, *rest in json.loads(details):
            by_id[number].describe(consumer, rest, key_parts, header_parts)
    return messages


def by_claim(messages: Iterable[QueueMessage]) -> Iterator[tuple[int, str]]:
    """Each claim with the ids of its messages, as a JSON list."""
    groups: dict[int, list[int]] = {}
    for message in messages:
        groups.setdefault(message.claim, []).append(message.message_context)  # type: ignore[attr-defined]  # ours
    for claim, ids in groups.items():
        yield claim, json_list(ids)


def json_list(numbers: Iterable[int]) -> str:
    """Whole numbers as a JSON list."""
    return f"[{','.join(map(str, numbers))}]"
