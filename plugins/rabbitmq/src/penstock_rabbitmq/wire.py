"""How a record is written as an AMQP message, and read back.

Headers are AMQP headers: text where a value is UTF-8, else a byte array, and an array where a name repeats. A table has
no order, so `penstock-amqp-order` has the names in theirs unless that is the alphabet's. Headers whose names AMQP
cannot hold travel together in `penstock-amqp-headers`, as the JSON of `penstock.headers`. The key is in
`penstock-amqp-key`; a null body has `penstock-amqp-null`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from penstock.errors import DecodeError
from penstock.headers import dump_headers, load_headers
from penstock.message import Headers, Record

PREFIX = "penstock-amqp-"
KEY, NULL, ORDER, HEADERS = (PREFIX + name for name in ("key", "null", "order", "headers"))
DELIVERIES = PREFIX + "deliveries"
"""Deliveries before the message was stored anew, to be delayed."""

COUNTS = ("x-acquired-count", "x-delivery-count")
SERVERS = (*COUNTS, "x-death", "x-first-death-", "x-last-death-")
MAX_NAME = 128  # bytes; the client cuts longer ones


def written(record: Record) -> dict[str, Any]:
    """The AMQP headers of a record."""
    table: dict[str, Any] = {}
    names = [name for name, _value in record.headers]
    if not all(map(_fits, names)):
        table[HEADERS] = dump_headers(record.headers)
    elif names:
        for name, value in record.headers:
            table.setdefault(name, []).append(_written_value(value))
        table = {name: values[0] if len(values) == 1 else values for name, values in table.items()}
        if names != sorted(names):
            table[ORDER] = names
    if record.key is not None:
        table[KEY] = bytearray(record.key)
    if record.message is None:
        table[NULL] = True
    return table


def read_headers(table: Mapping[str, Any]) -> Headers:
    """Header pairs, whichever program wrote them; what the server adds is left out."""
    if HEADERS in table:
        with suppress(DecodeError):
            return load_headers(table[HEADERS])
    values = {name: iter(value if isinstance(value, list) else [value]) for name, value in table.items() if _fits(name)}
    ordered = [(name, _read_value(next(values[name], None))) for name in table.get(ORDER, ()) if name in values]
    return ordered + [(name, _read_value(value)) for name, rest in values.items() for value in rest]


def deliveries(table: Mapping[str, Any]) -> int | None:
    """How often a message was delivered before, by the server's count; None if it does not count."""
    return next((int(table[name]) for name in COUNTS if name in table), None)


def _fits(name: str) -> bool:
    encoded = name.encode("utf-8", "replace")
    return 0 < len(encoded) <= MAX_NAME and encoded.decode() == name and not name.startswith((PREFIX, *SERVERS))


def _written_value(value: bytes | None) -> str | bytearray | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return bytearray(value or b"")


def _read_value(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes | bytearray):
        return None if value is None else bytes(value)
    return value.encode() if isinstance(value, str) else json.dumps(value, default=str).encode()
