"""Dead letters as text and as JSON."""

from __future__ import annotations

import base64
from codecs import getincrementaldecoder
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from penstock.known_secrets import hide
from penstock.message import Headers
from penstock.observability.printable import lines, one_line
from penstock.operations.letters import Group, Letter

SHOWN = 4_096  # bytes of a body that are shown
HEX_COLUMNS = 16
GROUP_COLUMNS = ("letters", "stage", "error", "origin", "app", "first", "last", "the last is at")


def when(time: datetime | None) -> str:
    """A time in UTC, to the millisecond; "-" if it is not known."""
    return "-" if time is None else time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def group_rows(groups: Iterable[Group]) -> list[Sequence[str]]:
    """The cells of `list`."""
    rows: list[Sequence[str]] = []
    for each in groups:
        what = (each.stage or "not a dead letter", each.error or "-", each.origin or "-", each.app or "-")
        rows.append((f"{each.count:,}", *map(hide, what), when(each.first), when(each.last), each.position))
    return rows


def group_object(group: Group) -> dict[str, Any]:
    """One entry of `list --json`."""
    return {
        "count": group.count,
        "stage": group.stage,
        "error": group.error,
        "origin": group.origin,
        "app": group.app,
        "first": None if group.first is None else when(group.first),
        "last": None if group.last is None else when(group.last),
        "last_position": group.position,
        "last_error_text": hide(group.text),
    }


def letter_text(letter: Letter, most: int = SHOWN) -> str:
    """One letter whole, its body up to `most` bytes; harmless on a terminal."""
    message, details = letter.message, letter.details
    rows = [("position", message.position), ("id", details.id or "-"), ("died", when(letter.died_at))]
    if letter.is_ours:
        rows += [
            ("stage", details.stage),
            ("error", f"{details.error_type}: {details.error_text}"),
            ("origin", f"{details.queue} at {details.position or '?'}"),
            ("app", details.app),
            ("attempts", str(details.attempts)),
            ("replays", str(details.replays)),
        ]
    else:
        rows.append(("stage", "- (not a dead letter: another program, or a function, sent it)"))
    rows.append(("state", getattr(message, "state", "in a file")))
    if message.key is not None:
        rows.append(("key", _value(message.key)))
    rows += [
        ("header", f"{name}: {'null' if value is None else _value(value)}") for name, value in details.record.headers
    ]
    body = message.message
    rows.append(("body", "none (a tombstone)" if body is None else f"{len(body):,} bytes"))
    head = "\n".join(f"{name:<9} {one_line(hide(text), 2_000)}" for name, text in rows)
    return head if not body else f"{head}\n\n{_body(body, most)}"


def letter_object(letter: Letter) -> dict[str, Any]:
    """One letter as `show --json` prints it, whole."""
    message, details = letter.message, letter.details
    return {
        "position": message.position,
        "id": details.id,
        "died": None if letter.died_at is None else when(letter.died_at),
        "stage": details.stage,
        "error": details.error_type,
        "error_text": hide(details.error_text),
        "origin": details.queue,
        "origin_position": details.position,
        "app": details.app,
        "attempts": details.attempts,
        "replays": details.replays,
        "key": None if message.key is None else _json_value(message.key),
        "headers": _json_headers(details.record.headers),
        "body": None if message.message is None else _json_value(message.message),
    }


def _json_headers(headers: Headers) -> list[list[Any]]:
    return [[name, None if value is None else _json_value(value)] for name, value in headers]


def _json_value(value: bytes) -> str | dict[str, str]:
    try:
        return hide(value.decode())
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _value(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"hex {value.hex()}"


def _body(body: bytes, most: int) -> str:
    part, rest = body[:most], len(body) - most
    try:
        # Not final: a character that the cut has split does not make bytes of a text.
        text = lines(hide(getincrementaldecoder("utf-8")().decode(part, final=rest <= 0)))
    except UnicodeDecodeError:
        text = "\n".join(_hex_line(part, start) for start in range(0, len(part), HEX_COLUMNS))
    return text if rest <= 0 else f"{text}\n… {rest:,} more bytes: --bytes {len(body)} shows all"


def _hex_line(data: bytes, start: int) -> str:
    part = data[start : start + HEX_COLUMNS]
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
    return f"{start:08x}  {part.hex(' '):<{3 * HEX_COLUMNS}} {text}"
