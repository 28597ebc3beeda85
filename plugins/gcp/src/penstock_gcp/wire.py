"""How a record is written as a Pub/Sub message, and read back.

Attributes are text without an order, with one value of at most 1,024 bytes a name. So:

- Each header that fits is an attribute, which filters and other programs see.
- If attributes alone would not bring the headers back byte for byte and in order, all of them also stand in
  `penstock-headers-0`, `-1`, …, as the JSON of `penstock.headers`, cut into pieces.
- The key is the ordering key if the queue has `ordering` and the key is text; else it stands in `penstock-key-0`, …, in
  base64, and the ordering key, if there is one, is its digest.
- `penstock-body` says "null" of a null body. Pub/Sub refuses a message of nothing, so it says "empty" of an empty one.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from penstock.headers import dump_headers, load_headers
from penstock.message import Headers, Record

OURS = re.compile(r"penstock-(?:key|headers)-\d+|penstock-body")
MOST_ATTRIBUTES, LONGEST_NAME, LONGEST_VALUE = 100, 256, 1024
MOST_PLAIN = 50  # headers that are attributes of their own; the others are in the list only


def written(record: Record, ordering: bool) -> tuple[dict[str, str], str]:
    """The attributes and the ordering key of a record."""
    attributes: dict[str, str] = {}
    ordering_key = ""
    if record.headers:
        attributes = _plain(record.headers)
        if _read_plain(attributes) != list(record.headers):
            attributes |= _pieces("penstock-headers", dump_headers(record.headers, ascii_only=True) or "")
    if record.key is not None:
        text = _text(record.key)
        if ordering and text and len(record.key) <= LONGEST_VALUE:
            ordering_key = text
        else:
            attributes |= _pieces("penstock-key", b64encode(record.key).decode())
            ordering_key = sha256(record.key).hexdigest() if ordering else ""
    if record.message is None:
        attributes["penstock-body"] = "null"
    elif not record.message and not attributes:
        attributes["penstock-body"] = "empty"
    return attributes, ordering_key


def read(message: Any) -> tuple[bytes | None, bytes | None, Headers]:
    """Body, key and headers of a Pub/Sub message, whichever program wrote it."""
    attributes: Mapping[str, str] = message.attributes
    key = message.ordering_key.encode() if message.ordering_key else None
    if not attributes:
        return message.data, key, ()
    if "penstock-key-0" in attributes:
        key = b64decode(_joined("penstock-key", attributes))
    headers = list(load_headers(_joined("penstock-headers", attributes) or None))
    names = {name for name, _value in headers}
    headers += [pair for pair in _read_plain(attributes) if pair[0] not in names]
    return None if attributes.get("penstock-body") == "null" else message.data, key, headers


def _plain(headers: Headers) -> dict[str, str]:
    pairs = [(name, _text(value)) for name, value in headers[:MOST_PLAIN] if value is not None and _fits(name, value)]
    return {name: text for name, text in pairs if text is not None}


def _fits(name: str, value: bytes) -> bool:
    size = len(name.encode("utf-8", "surrogatepass"))
    return 0 < size <= LONGEST_NAME and len(value) <= LONGEST_VALUE and _is_foreign(name) and _is_utf8(name)


def _is_foreign(name: str) -> bool:
    return not name.startswith("goog") and not OURS.fullmatch(name)


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _read_plain(attributes: Mapping[str, str]) -> list[tuple[str, bytes | None]]:
    return [(name, value.encode()) for name, value in sorted(attributes.items()) if not OURS.fullmatch(name)]


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _pieces(name: str, text: str) -> dict[str, str]:
    starts = range(0, len(text) or 1, LONGEST_VALUE)
    return {f"{name}-{number}": text[start : start + LONGEST_VALUE] for number, start in enumerate(starts)}


def _joined(name: str, attributes: Mapping[str, str]) -> str:
    pieces: list[str] = []
    while (piece := attributes.get(f"{name}-{len(pieces)}")) is not None:
        pieces.append(piece)
    return "".join(pieces)
