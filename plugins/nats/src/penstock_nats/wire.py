"""How a record is written as a NATS message, and read back.

NATS headers are text: no line breaks, one value a name in most clients, spaces at the ends stripped. So:

- Headers whose names differ, and whose values NATS keeps as they are, are written as they are; other programs see them.
- If one of a record's headers is not like that, all of them stand in `Penstock-Headers`, as the JSON of
  `penstock.headers`.
- The key stands in `Penstock-Key`, percent-encoded.
- A null body has `Penstock-Tombstone: 1`.

Headers of the server's own (`Nats-…`) are not part of a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote_from_bytes, unquote_to_bytes

from penstock.headers import dump_headers, load_headers
from penstock.message import Headers, Record

KEY = "Penstock-Key"
HEADERS = "Penstock-Headers"
TOMBSTONE = "Penstock-Tombstone"

_OURS = {KEY.lower(), HEADERS.lower(), TOMBSTONE.lower()}
_SERVERS = "nats-"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.!#$%&'*+^`|~-]+")
_PLAIN_VALUE = re.compile(rb"[!-~]([ -~]*[!-~])?")


def written_headers(record: Record) -> dict[str, str]:
    """The NATS headers of a record."""
    headers: dict[str, str] = {}
    if record.headers:
        names = {name.lower() for name, _value in record.headers}
        plain = {name: value.decode("ascii") for name, value in record.headers if value and _is_plain(name, value)}
        if len(names) == len(record.headers) == len(plain):
            headers = plain
        else:
            headers = {HEADERS: dump_headers(record.headers, ascii_only=True) or ""}
    if record.key is not None:
        headers[KEY] = quote_from_bytes(record.key)
    if record.message is None:
        headers[TOMBSTONE] = "1"
    return headers


def read(body: bytes, headers: Mapping[str, str] | None) -> tuple[bytes | None, bytes | None, Headers]:
    """Body, key and headers of a NATS message, whichever program wrote it."""
    if not headers:
        return body, None, ()
    by_name = {name.lower(): value for name, value in headers.items()}
    key = by_name.get(KEY.lower())
    tombstone = TOMBSTONE.lower() in by_name and not body
    pairs = list(load_headers(by_name.get(HEADERS.lower())))
    plain = ((name, value) for name, value in headers.items() if not _is_ours_or_the_servers(name))
    pairs += [(name, value.encode("utf-8", "surrogateescape")) for name, value in plain]
    return None if tombstone else body, None if key is None else unquote_to_bytes(key), pairs


def size(body: bytes, headers: Mapping[str, str]) -> int:
    """Bytes that the server counts against its limit; a few more, never fewer."""
    return len(body) + 16 + sum(len(name) + len(value) + 4 for name, value in headers.items())


def _is_ours_or_the_servers(name: str) -> bool:
    return name.lower() in _OURS or name.lower().startswith(_SERVERS)


def _is_plain(name: str, value: bytes) -> bool:
    fits = _PLAIN_NAME.fullmatch(name) is not None and _PLAIN_VALUE.fullmatch(value) is not None
    return fits and not _is_ours_or_the_servers(name)
