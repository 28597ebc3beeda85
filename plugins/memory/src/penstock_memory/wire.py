"""What a client and the broker say to each other: frames of a JSON header and raw bodies.

A frame is two lengths (4 bytes each, big-endian), the header, the bodies one after the other. A request's header holds
`id`, `op` and the arguments; the answer's the same `id` and the results, or `error`. Answers come in any order. Keys
and header values are bytes; JSON carries them as text of the code points 0 to 255.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any

from penstock.errors import ConnectorError
from penstock.message import Headers, QueueMessage, Record

PROTOCOL = 1
"""Raised when the frames change so that a client and a broker of two versions cannot understand each other."""

MAX_FRAME = 256 * 2**20
"""Bytes of a header, and of the bodies together. A greater length was sent by something that is not one of us."""

CHUNK = 8 * 2**20
"""Bytes of bodies, keys and headers at which a list is cut, so that neither side holds all of it twice."""

CHUNK_ROWS = 10_000
"""Messages at which a list is cut: a frame of them takes the broker about 10 ms, in which others wait."""

_LENGTHS = struct.Struct("!II")

Header = dict[str, Any]


class WireError(ConnectorError):
    """What came is no frame of ours."""


def encode(header: Header, bodies: Sequence[bytes] = ()) -> bytes:
    """One frame."""
    head = json.dumps(header, separators=(",", ":")).encode()
    payload = b"".join(bodies)
    return b"".join((_LENGTHS.pack(len(head), len(payload)), head, payload))


async def read(reader: asyncio.StreamReader) -> tuple[Header, bytes]:
    """The next frame: its header, and its bodies in one piece.

    Raises:
        EOFError: the other side has closed.
        OSError: the connection broke.
        WireError: this is no frame.
    """
    head_length, payload_length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    if max(head_length, payload_length) > MAX_FRAME:
        raise WireError("the other side speaks another protocol than a broker of penstock-memory")
    head = await reader.readexactly(head_length)
    payload = await reader.readexactly(payload_length)
    try:
        header = json.loads(head)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise WireError("the other side speaks another protocol than a broker of penstock-memory")
    return header, payload


def pack_records(records: Sequence[Record]) -> tuple[list[Any], list[bytes]]:
    """Rows for a header, and the bodies they stand for."""
    rows = [[_size(r.message), _text(r.key), _pack_headers(r.headers), r.delay] for r in records]
    return rows, [r.message for r in records if r.message is not None]


def unpack_records(rows: Sequence[Any], payload: bytes) -> list[Record]:
    """The way back from `pack_records`."""
    records, at = [], 0
    for size, key, headers, delay in rows:
        body, at = _cut(payload, at, size)
        records.append(Record(body, _bytes(key), _unpack_headers(headers), delay))
    return records


def pack_messages(messages: Sequence[QueueMessage]) -> tuple[list[Any], list[bytes]]:
    """Rows for a header, and the bodies they stand for."""
    rows = [
        [
            m.message_context,
            _size(m.message),
            _text(m.key),
            _pack_headers(m.headers),
            m.timestamp,
            m.attempts,
            m.position,
            m.abandoned,
        ]
        for m in messages
    ]
    return rows, [m.message for m in messages if m.message is not None]


def unpack_messages(rows: Sequence[Any], payload: bytes) -> list[QueueMessage]:
    """The way back from `pack_messages`."""
    messages, at = [], 0
    for token, size, key, headers, timestamp, attempts, position, abandoned in rows:
        body, at = _cut(payload, at, size)
        messages.append(
            QueueMessage(token, body, _bytes(key), _unpack_headers(headers), timestamp, attempts, position, abandoned)
        )
    return messages


def _size(body: bytes | None) -> int:
    return -1 if body is None else len(body)


def _cut(payload: bytes, at: int, size: int) -> tuple[bytes | None, int]:
    return (None, at) if size < 0 else (payload[at : at + size], at + size)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")


def _pack_headers(headers: Headers) -> list[tuple[str, str | None]] | None:
    return [(name, _text(value)) for name, value in headers] if headers else None


def _unpack_headers(pairs: Sequence[tuple[str, str | None]] | None) -> Headers:
    return tuple((name, _bytes(value)) for name, value in pairs) if pairs else ()
