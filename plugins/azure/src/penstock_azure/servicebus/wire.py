"""What a record is on Service Bus: headers are application properties, and what these cannot hold is written beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from penstock.headers import dump_headers, load_headers
from penstock.message import Headers, Record

KEY = "penstock-key"
HEADERS = "penstock-headers"
NULL = "penstock-null"
OWN = (KEY, HEADERS, NULL)


def written_properties(record: Record) -> dict[str, str | bytes | bool]:
    """Application properties of a record. Headers that would not come back as they are go into one of ours, as JSON."""
    properties: dict[str, str | bytes | bool] = {}
    if record.headers:
        plain = {name: _text(value) for name, value in record.headers}
        if len(plain) < len(record.headers) or not all(map(_is_plain, plain, plain.values())):
            properties[HEADERS] = dump_headers(record.headers, ascii_only=True) or ""
        else:
            properties.update({name: text for name, text in plain.items() if text is not None})
    if record.key is not None:
        # A partition key of the service would bind messages to a partition; and it is text.
        properties[KEY] = quote_from_bytes(record.key)
    if record.message is None:
        properties[NULL] = True
    return properties


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _is_plain(name: str, text: str | None) -> bool:
    return bool(name) and name not in OWN and text is not None and _encodable(name)


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def read(properties: Mapping[Any, Any] | None) -> tuple[bytes | None, Headers, bool]:
    """Key, headers, and whether the body is null."""
    if not properties:
        return None, (), False
    texts = {_decoded(name): value for name, value in properties.items()}
    key = texts.pop(KEY, None)
    own = texts.pop(HEADERS, None)
    null = bool(texts.pop(NULL, False))
    headers = load_headers(_decoded(own)) if own is not None else [(name, _bytes(texts[name])) for name in texts]
    return None if key is None else unquote_to_bytes(_decoded(key)), headers, null


def _decoded(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes | None:
    # Other programs write numbers, times and the like.
    return value if value is None or isinstance(value, bytes) else str(value).encode()
