"""How a record is written as a message of SQS or SNS, and read back.

A body is text of XML's alphabet, not empty; an attribute's value is text or bytes, not empty; a message has at most ten
attributes, without order. So:

- A body that is such text is written as it is. Any other has the attribute `Penstock.Body`, which says what the text
  stands for: "base64", "empty", "null".
- Up to seven headers whose names differ, and whose values are such text, are attributes; other programs and SNS's
  filters see them. `Penstock.Order` has their names in order, if there are several.
- Headers of any other kind stand in `Penstock.Headers`, all of them, as the JSON of `penstock.headers`.
- The key stands in `Penstock.Key`; on a FIFO queue it is the message group, where it fits.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from penstock.errors import DecodeError
from penstock.headers import dump_headers, load_headers
from penstock.message import Headers, Record

KEY, HEADERS, ORDER, BODY = "Penstock.Key", "Penstock.Headers", "Penstock.Order", "Penstock.Body"
MOST_PLAIN = 7  # of ten; three are ours

Attributes = dict[str, dict[str, Any]]

_UNCLEAN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN_NAME = re.compile(
    r"(?!AWS\.|Amazon\.|Penstock\.)(?!.*\.\.)(?!.*\.$)[A-Za-z0-9_-][A-Za-z0-9_.-]{0,255}", re.IGNORECASE
)
_EMPTY = {"empty": b"", "null": None}


def written(record: Record) -> tuple[str, Attributes]:
    """The text and the attributes of a record, its key aside."""
    attributes = _written_headers(record.headers) if record.headers else {}
    body = record.message
    text = _text(body) if body else None
    if text is None:
        kind = "base64" if body else "null" if body is None else "empty"
        attributes[BODY] = _attribute(kind)
        text = base64.b64encode(body).decode() if body else kind
    return text, attributes


def written_key(key: bytes) -> dict[str, Any]:
    """The attribute `Penstock.Key`; "-" before it, because a value is never empty."""
    return {"DataType": "Binary", "BinaryValue": b"-" + key}


def read(text: str, attributes: Mapping[str, Mapping[str, Any]]) -> tuple[bytes | None, bytes | None, Headers]:
    """Body, key and headers of a message, whichever program wrote it.

    Raises:
        DecodeError: an attribute of ours is not as we write it.
    """
    if not attributes:
        return text.encode("utf-8", "surrogatepass"), None, ()
    values = {name: _value(attribute) for name, attribute in attributes.items()}
    key, kind = values.pop(KEY, None), values.pop(BODY, b"").decode()
    order, others = values.pop(ORDER, b"").decode().split(","), values.pop(HEADERS, None)
    names = [name for name in order if name in values] + [name for name in values if name not in order]
    headers: Headers = [(name, values[name]) for name in names]
    if others is not None:
        headers = [*load_headers(others.decode()), *headers]
    try:
        body = base64.b64decode(text, validate=True) if kind == "base64" else _EMPTY.get(kind, text.encode())
    except ValueError as error:
        raise DecodeError(f"the body is not the base64 that the attribute {BODY} announces") from error
    return body, None if key is None else key[1:], headers


def unwrapped(text: str, attributes: Attributes) -> tuple[str, Attributes]:
    """Text and attributes of the message of a topic inside SNS's envelope; others stay as they are."""
    if text.startswith("{") and '"TopicArn"' in text:
        try:
            envelope = json.loads(text)
            if envelope["Type"] == "Notification":
                inner = {name: _unwrapped(**each) for name, each in envelope.get("MessageAttributes", {}).items()}
                return envelope["Message"], inner
        except (ValueError, KeyError, TypeError):
            pass  # another program's JSON
    return text, attributes


def _unwrapped(Type: str, Value: str) -> dict[str, Any]:  # noqa: N803  (as SNS writes them)
    return {"BinaryValue": base64.b64decode(Value)} if Type == "Binary" else {"StringValue": Value}


def _written_headers(headers: Headers) -> Attributes:
    plain = {name: _attribute(text) for name, value in headers if (text := _plain(name, value))}
    if not len(plain) == len(headers) <= MOST_PLAIN:
        return {HEADERS: _attribute(dump_headers(headers, ascii_only=True) or "")}
    return plain | ({ORDER: _attribute(",".join(plain))} if len(plain) > 1 else {})


def _plain(name: str, value: bytes | None) -> str | None:
    return _text(value) if value and _PLAIN_NAME.fullmatch(name) else None


def _text(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if _UNCLEAN.search(text) else text


def _attribute(text: str) -> dict[str, Any]:
    return {"DataType": "String", "StringValue": text}


def _value(attribute: Mapping[str, Any]) -> bytes:
    value: bytes | None = attribute.get("BinaryValue")
    return str(attribute.get("StringValue", "")).encode() if value is None else value
