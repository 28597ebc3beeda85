"""Records into the table of messages: what can be stored, and the statement that stores a batch."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence

from penstock.bulk import record_size
from penstock.errors import LONGEST_DELAY, ProduceError
from penstock.message import Record
from penstock_sqlite import headers
from penstock_sqlite.statements import BODY_BITS, STORE

HIGHEST_PRIORITY = 32_767
MAX_RECORD = 256 * 2**20
"""Bytes of body, key and headers. SQLite itself takes up to a billion in a row."""

MAX_BLOB = 32 * 2**20
"""Bytes of records in one statement, of which SQLite has two copies."""


def refusal(record: Record) -> ProduceError | None:
    """Why a record can never be stored; None if it can."""
    if (size := record_size(record)) > MAX_RECORD:
        text = f"a record of {size} bytes is too large: body, key and headers have at most {MAX_RECORD} together"
        return ProduceError(text, retriable=False)
    if record.delay and not 0 <= record.delay <= LONGEST_DELAY:
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
    layout: list[str] = []
    offset = 0
    for record in records:
        body = record.message
        if body is None or record.key is not None or record.headers or record.delay or record.options:
            written = headers.dump(record.headers) if record.headers else None
            places: list[int | None] = []
            for part in (body, record.key, written):
                if part is None:
                    places.append(None)
                else:
                    places.append(offset << BODY_BITS | len(part))
                    parts.append(part)
                    offset += len(part)
            priority = (record.options or {}).get("priority", 0)
            layout.append(json.dumps([*places, priority, record.delay or None]))
        else:
            layout.append(str(offset << BODY_BITS | len(body)))
            parts.append(body)
            offset += len(body)
        if offset >= MAX_BLOB:
            yield b"".join(parts), f"[{','.join(layout)}]"
            parts, layout, offset = [], [], 0
    if layout:
        yield b"".join(parts), f"[{','.join(layout)}]"
