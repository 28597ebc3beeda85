"""Key and headers inside the body, for backends that have no place for them.

An envelope is a JSON object in UTF-8 whose first bytes are exactly `{"penstock-envelope":`; by them it is known.

    {"penstock-envelope":1,"key":"42","headers":[["penstock-error-stage","decode"],["h",{"base64":"/w=="}]],"body":"…"}

- `penstock-envelope`: the version, 1.
- `key`: left out if there is none.
- `headers`: pairs in order, names may repeat, a value may be null; left out if there are none.
- `body`: null for a tombstone.

A value that is valid UTF-8 is written as text, so that people and other programs can read it; any other as
`{"base64": "…"}`. Either way it comes back byte for byte.

A record is wrapped only if it has something that the backend cannot carry, or if its body begins like an envelope.
Other bodies stay as they are, so that programs that do not know Penstock can read them, and no plain body is taken for
an envelope.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from penstock.capabilities import Capabilities
from penstock.errors import DecodeError
from penstock.message import Record

VERSION = 1
MAGIC = b'{"penstock-envelope":'


def uses_envelope(capabilities: Capabilities) -> bool:
    """Whether a backend's queues may hold envelopes: the input side then looks for them, the output side makes them."""
    return not (capabilities.headers and capabilities.keys and capabilities.tombstones)


def needs_envelope(record: Record, capabilities: Capabilities) -> bool:
    """Whether a record must be wrapped to arrive as it is. Asked only where `uses_envelope`."""
    return (
        (bool(record.headers) and not capabilities.headers)
        or (record.key is not None and not capabilities.keys)
        or (not capabilities.tombstones if record.message is None else is_envelope(record.message))
    )


def carried(record: Record, capabilities: Capabilities, *, wrapped: bool = True) -> Record:
    """A record as the backend can carry it.

    Args:
        record: The record.
        capabilities: What the backend can do.
        wrapped: In an envelope, if it needs one; else the body goes alone, and a tombstone as an empty one.
    """
    if not needs_envelope(record, capabilities):
        return record
    key = record.key if capabilities.keys else None
    if wrapped:
        return Record(wrap(record), key, (), record.delay, record.options)
    body = b"" if record.message is None and not capabilities.tombstones else record.message
    return Record(body, key, record.headers if capabilities.headers else (), record.delay, record.options)


def is_envelope(body: bytes | None) -> bool:
    """Whether these bytes are an envelope, perhaps a damaged one."""
    return body is not None and body.startswith(MAGIC)


def wrap(record: Record) -> bytes:
    """The envelope of a record's body, key and headers."""
    content: dict[str, Any] = {"penstock-envelope": VERSION}
    if record.key is not None:
        content["key"] = _written(record.key)
    if record.headers:
        content["headers"] = [[name, None if value is None else _written(value)] for name, value in record.headers]
    content["body"] = None if record.message is None else _written(record.message)
    try:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        # A header's name with a lone surrogate: legal in a Python string and in JSON, not in UTF-8.
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def unwrap(body: bytes) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]] | None:
    """Open an envelope.

    Returns:
        Body, key and headers; None if these bytes are a plain body, not an envelope.

    Raises:
        DecodeError: they begin like an envelope, but are damaged or of another version. To hand them on as a plain
            body would give the function something that was never sent.
    """
    if not is_envelope(body):
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:  # nesting too deep is a RecursionError
        raise DecodeError("the envelope is not JSON; it was cut or changed on its way") from error
    version = content.get("penstock-envelope")
    if version != VERSION or isinstance(version, (bool, float)):
        raise DecodeError(
            f"this envelope is not of version {VERSION}, which this Penstock reads; use the one that wrote it"
        )
    if "body" not in content or content.keys() - {"penstock-envelope", "key", "headers", "body"}:
        raise DecodeError("the envelope has no 'body', or has keys that version 1 does not know")
    key = _read(content["key"], "key") if "key" in content else None
    message = None if content["body"] is None else _read(content["body"], "body")
    return message, key, _read_headers(content.get("headers", []))


def _written(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}


def _read(value: object, what: str) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode("utf-8")
        if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
            return base64.b64decode(value["base64"], validate=True)
    except ValueError as error:
        raise DecodeError(f"the envelope's {what} is damaged") from error
    raise DecodeError(f"the envelope's {what} is neither text nor base64")


def _read_headers(pairs: object) -> list[tuple[str, bytes | None]]:
    if not isinstance(pairs, list):
        raise DecodeError("the envelope's headers are not a list of pairs")
    headers: list[tuple[str, bytes | None]] = []
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise DecodeError("the envelope's headers are not a list of pairs")
        headers.append((pair[0], None if pair[1] is None else _read(pair[1], "header")))
    return headers
