"""How a message is stored in an entry of a stream, for every program that reads or writes one.

- `body`: the body, as it is. An entry without it has `tombstone` instead, for a null body.
- `key`: the key, if there is one.
- `h:NAME`: a header, in order; a name may repeat. `n:NAME` for a header whose value is null.

An entry with neither `body` nor `tombstone` is another program's: its message is a JSON object of its fields.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from penstock.message import Record

Opened = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


def fields_of(record: Record) -> list[bytes]:
    """The fields and values of an entry."""
    fields = [b"tombstone", b""] if record.message is None else [b"body", record.message]
    if record.key is not None:
        fields += (b"key", record.key)
    for name, value in record.headers:
        mark = b"n:" if value is None else b"h:"
        fields += (mark + name.encode("utf-8", "surrogatepass"), value or b"")
    return fields


def opened(fields: Sequence[bytes]) -> Opened:
    """Body, key and headers of an entry."""
    if len(fields) == 2 and fields[0] == b"body":
        return fields[1], None, ()
    body, key, is_ours = None, None, False
    headers: list[tuple[str, bytes | None]] = []
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    for name, value in pairs:
        if name == b"body":
            body, is_ours = value, True
        elif name == b"tombstone":
            is_ours = True
        elif name == b"key":
            key = value
        elif name[:2] in (b"h:", b"n:"):
            headers.append((name[2:].decode("utf-8", "surrogatepass"), value if name[:1] == b"h" else None))
    if is_ours:
        return body, key, headers
    texts = {_text(name): _text(value) for name, value in pairs}
    return json.dumps(texts, ensure_ascii=False).encode(), None, ()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
