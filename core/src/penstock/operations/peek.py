"""Shows a browsed message: as an object for programs, as lines of text for people."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from penstock.dead_letters import DeadLetter
from penstock.observability.printable import one_line
from penstock.queues.browsing import OpenedMessage
from penstock.serializers import Serializer

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")  # a text in JSON has no line breaks of its own

BODY = 2_000  # characters of a body that a person is shown


def as_object(opened: OpenedMessage, serializer: Serializer | None) -> dict[str, Any]:
    """A message as plain data for `orjson.dumps`.

    `body` is the data in it; where the queue's serializer does not read it, its text; where it is not text, there is
    `body_base64` instead. `key` and the values of headers are text or base64 likewise.

    Args:
        opened: The message.
        serializer: The queue's own.
    """
    message = opened.message
    shown: dict[str, Any] = {
        "position": message.position,
        "state": message.state,
        "attempts": message.attempts,
        "enqueued_at": None if message.timestamp is None else timestamp(message.timestamp),
    }
    if message.key is not None:
        shown |= text_or_base64("key", message.key)
    if message.headers:
        shown["headers"] = [_header(name, value) for name, value in message.headers]
    if opened.error is not None:
        shown["error"] = str(opened.error)
    if opened.dead_letter is not None:
        shown["dead_letter"] = _reasons(opened.dead_letter)
    return shown | _body(message.message, serializer)


def as_lines(opened: OpenedMessage) -> list[str]:
    """A message as lines of text, escaped; a long body is cut."""
    message = opened.message
    facts = [message.position, message.state]
    if message.timestamp is not None:
        facts.append(timestamp(message.timestamp))
    if message.attempts:
        facts.append(f"attempts {message.attempts}")
    if message.key is not None:
        facts.append(f"key {_readable(message.key)}")
    lines = ["  ".join(facts)]
    if (letter := opened.dead_letter) is not None:
        lines.append(f"  died: {_death(letter)}")
        headers = letter.record.headers
    else:
        headers = message.headers
    lines += [f"  {name}: {'null' if value is None else _readable(value)}" for name, value in headers]
    if opened.error is not None and message.message:
        lines.append(f"  not valid: {opened.error}")
    lines.append("  (no body: a tombstone)" if message.message is None else f"  {_readable(message.message)}")
    return [one_line(line, BODY) for line in lines]


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339, in UTC; their number where the calendar ends."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _death(letter: DeadLetter) -> str:
    where = f"{letter.queue} at {letter.position}" if letter.position else letter.queue
    parts = [
        f"{letter.error_type}: {letter.error_text}" if letter.error_text else letter.error_type,
        f"stage {letter.stage}",
        f"attempts {letter.attempts}" if letter.attempts else "",
        f"from {where}" if where else "",
        "" if letter.failed_at is None else timestamp(letter.failed_at.timestamp()),
        f"app {letter.app}" if letter.app else "",
    ]
    return "; ".join(filter(None, parts))


def _reasons(letter: DeadLetter) -> dict[str, Any]:
    return {
        "stage": letter.stage,
        "error_type": letter.error_type,
        "error_text": letter.error_text,
        "attempts": letter.attempts,
        "queue": letter.queue,
        "position": letter.position,
        "failed_at": None if letter.failed_at is None else timestamp(letter.failed_at.timestamp()),
        "app": letter.app,
        "id": letter.id,
    }


def _body(body: bytes | None, serializer: Serializer | None) -> dict[str, Any]:
    if body is None:
        return {"body": None}
    if serializer is not None:
        try:
            if serializer.format == "json":
                orjson.loads(body)
                return {"body": orjson.Fragment(body.translate(_ONE_LINE))}  # numbers keep their digits
            return {"body": orjson.Fragment(orjson.dumps(serializer.deserialize(body)))}
        except Exception:  # noqa: BLE001, S110  (any error means that it is not of this format, so its text is shown)
            pass
    return text_or_base64("body", body)


def _header(name: str, value: bytes | None) -> Sequence[Any]:
    if value is None:
        return (name, None)
    (shown,) = text_or_base64("value", value).items()
    return (name, shown[1] if shown[0] == "value" else {"base64": shown[1]})


def text_or_base64(name: str, value: bytes) -> dict[str, str]:
    """The entry of an object for bytes: their text by this name, else base64 by `name_base64`."""
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def _readable(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"({len(value)} bytes, not text) {value[:BODY].hex()}"
