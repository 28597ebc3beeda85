"""The two forms of a log line: text for people, and JSON, one object a line. Both are without secrets."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from penstock.known_secrets import SecretFormatter, hide

FIELDS = ("engine", "queue", "connector", "position", "stage", "attempt", "penstock_id", "error_type", "count")
"""What Penstock's records carry beside their text, each where it is known."""

PROCESS = "PENSTOCK_PROCESS"  # in the environment of one of several processes of a worker: its number

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_DEPTH = 6  # levels of a value that a program logs; deeper ones are shown as text


def local_time(seconds: float) -> str:
    """A time in seconds since the epoch as RFC 3339 has it, with the zone of this machine."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


class _Text(logging.Formatter):
    def __init__(self) -> None:
        number = os.environ.get(PROCESS)
        super().__init__(f"%(asctime)s {f'[{number}] ' if number else ''}%(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return local_time(record.created)


class TextFormatter(SecretFormatter):
    """`2026-11-27T02:51:10.250+01:00 WARNING penstock: …`, and below it a traceback."""

    def __init__(self) -> None:
        super().__init__(_Text())


class JsonFormatter(logging.Formatter):
    """A JSON object on one line: `time`, `level`, `logger`, `message`, then the fields that the record has.

    What a program adds to its own records by `extra` stands behind them under its own name, with a `_` behind it if it
    is one of ours. A value that JSON does not know is shown as text; no value breaks the line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, Any] = {
            "time": local_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        if number := os.environ.get(PROCESS):
            entry["worker_process"] = int(number)
        added = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        entry |= {name: value for name in FIELDS if (value := added.pop(name, None)) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = record.exc_text or self.formatException(record.exc_info)
        elif record.exc_text:
            entry["exception"] = record.exc_text
        if record.stack_info:
            entry["stack"] = record.stack_info
        for name, value in added.items():
            entry[f"{name}_" if name in entry else name] = value
        return json.dumps({hide(str(name)): _plain(value) for name, value in entry.items()})


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  (arguments that do not fit the text, or fail to show themselves)
        return f"{_text(record.msg)} {_text(record.args)}"


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can say it."""
    if value is None or value is True or value is False:
        return value
    if type(value) is int and abs(value) < 1 << 63:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, str):
        return _text(value)
    if depth < _DEPTH:
        if isinstance(value, Mapping):
            return {_text(key): _plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | Set):
            return [_plain(item, depth + 1) for item in value]
    return _text(value)


def _text(value: Any) -> str:
    try:
        return hide(str(value))
    except Exception:  # noqa: BLE001  (a program's value may fail to show itself)
        return f"({type(value).__name__}, which cannot be shown as text)"
