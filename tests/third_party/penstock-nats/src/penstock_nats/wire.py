"""How a record is written as a NATS message, and read back.

NATS headers are text: no line breaks, one value a name in most clients, spaces at the ends stripped. So:

- Headers whose names differ, and whose values NATS keeps as they are, are written as they are; other programs see them.
- If one of a record's headers is not like that, all of them stand in `Penstock-Headers`, percent-encoded pairs in
  order: `a=1&b=%FF&a=2`; a null value is a name without `=`.
- The key stands in `Penstock-Key`, percent-encoded.
- A null body has `Penstock-Tombstone: 1`.

Headers of the server's own (`Nats-…`) are no part of a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, quote_from_bytes, unquote, unquote_to_bytes

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
            headers = {HEADERS: "&".join(_packed(*pair) for pair in record.headers)}
    if record.key is not None:
        headers[KEY] = quote_from_bytes(record.key)
    if record.message is None:
        headers[TOMBSTONE] = "1"
    return headers


def read(body: bytes, headers: Mapping[str, str] | None) -> tuple[bytes | None, bytes | None, Headers]:
    """Body, key and headers of a NATS message, whoever wrote it."""
    if not headers:
        return body, None, ()
    pairs: list[tuple[str, bytes | None]] = []
    key = None
    tombstone = False
    for name, value in headers.items():
        lower = name.lower()
        if lower == KEY.lower():
            key = unquote_to_bytes(value)
        elif lower == HEADERS.lower():
            pairs += [_unpacked(pair) for pair in value.split("&")]
        elif lower == TOMBSTONE.lower():
            tombstone = True
        elif not lower.startswith(_SERVERS):
            pairs.append((name, value.encode("utf-8", "surrogateescape")))
    return None if tombstone and not body else body, key, pairs


def size(body: bytes, headers: Mapping[str, str]) -> int:
    """Bytes that the server counts against its limit; a few more, never fewer."""
    return len(body) + 16 + sum(len(name) + len(value) + 4 for name, value in headers.items())


def _is_plain(name: str, value: bytes) -> bool:
    lower = name.lower()
    return (
        lower not in _OURS
        and not lower.startswith(_SERVERS)
        and _PLAIN_NAME.fullmatch(name) is not None
        and _PLAIN_VALUE.fullmatch(value) is not None
    )


def _packed(name: str, value: bytes | None) -> str:
    quoted = quote(name, safe="", errors="surrogatepass")
    return quoted if value is None else f"{quoted}={quote_from_bytes(value, safe='')}"


def _unpacked(pair: str) -> tuple[str, bytes | None]:
    name, there, value = pair.partition("=")
    return unquote(name, errors="surrogatepass"), unquote_to_bytes(value) if there else None
