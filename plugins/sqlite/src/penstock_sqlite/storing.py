"""Records into the table of messages: what can be stored, and the statement that stores a batch."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence

from penstock.errors import LONGEST_DELAY, ProduceError
from penstock.headers import dump_headers
from penstock.message import Record
from penstock_sqlite.statements import BODY_BITS, STORE

HIGHEST_PRIORITY = 32_767
MAX_BLOB = 32 * 2**20
"""Bytes of records in one statement, of which SQLite has two copies."""


def refusals(records: Sequence[Record]) -> list[ProduceError | None]:
    """Why each of these can never be stored; None if it can."""
    return [_refusal(record) if record.options or record.delay else None for record in records]


def _refusal(record: Record) -> ProduceError | None:
    if not 0 <= record.delay <= LONGEST_DELAY:
        return ProduceError(f"a delay is a number of seconds from 0, not {record.delay}", retriable=False)
    for option, value in (record.options or {}).items():
        if option != "priority":
            text = f"`connector: sqlite` takes no option {option!r} with a message, only 'priority'"
            return ProduceError(text, retriable=False)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > HIGHEST_PRIORITY:
            text = f"a priority is a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}, not {value!r}"
            return ProduceError(text, retriable=False)
    return None


def store(connection: sqlite3.Connection, queue: str, records: Sequence[Record], now: float) -> None:
    """Store records in their order, inside a transaction."""
    for blob, layout in _packed(records):
        connection.execute(STORE, {"queue": queue, "now": now, "blob": blob, "layout": layout})


def _packed(records: Sequence[Record]) -> Iterator[tuple[bytes, str]]:
    """Blobs of records, each with its layout: see `statements.STORE`."""
    parts: list[bytes] = []
    layout: list[int | list[float | None]] = []
    offset = 0
    for record in records:
        body = record.message
        if body is None or record.key is not None or record.headers or record.delay or record.options:
            headers = dump_headers(record.headers)
            written = None if headers is None else headers.encode()
            places: list[float | None] = []
            for part in (body, record.key, written):
                if part is None:
                    places.append(None)
                else:
                    places.append(offset << BODY_BITS | len(part))
                    parts.append(part)
                    offset += len(part)
            priority = (record.options or {}).get("priority", 0)
            layout.append([*places, priority, record.delay or None])
        else:
            layout.append(offset << BODY_BITS | len(body))
            parts.append(body)
            offset += len(body)
        if offset >= MAX_BLOB:
            yield b"".join(parts), json.dumps(layout)
            parts, layout, offset = [], [], 0
    if layout:
        yield b"".join(parts), json.dumps(layout)
