"""Header pairs as the JSON text that a row holds: `[["name", "value"], …]`, each byte of a value as one character."""

from __future__ import annotations

import json

from penstock.message import Headers


def dump(headers: Headers) -> bytes:
    """Header pairs as text in ASCII."""
    pairs = [(name, None if value is None else value.decode("latin-1")) for name, value in headers]
    return json.dumps(pairs, separators=(",", ":")).encode()


def load(text: bytes) -> Headers:
    """The way back. A text that only another program can have written, and not like this, counts as no headers."""
    try:
        return tuple(
            (str(name), None if value is None else value.encode("latin-1")) for name, value in json.loads(text)
        )
    except (ValueError, TypeError, AttributeError):
        return ()
