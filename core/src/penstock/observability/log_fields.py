"""Which engine and queue a log record belongs to, also where a connector logs that knows neither."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_fields: ContextVar[Mapping[str, str]] = ContextVar("penstock_log_fields")
_NONE: Mapping[str, str] = {}


@contextmanager
def logged_with(fields: Mapping[str, str]) -> Iterator[None]:
    """Add these fields to what Penstock and its connectors log while the block runs, on threads that it asks, too."""
    token = _fields.set(fields)
    try:
        yield
    finally:
        _fields.reset(token)


def add_fields(record: logging.LogRecord) -> None:
    """Add the fields of the moment to a record that does not have them."""
    for name, value in _fields.get(_NONE).items():
        if not hasattr(record, name):
            setattr(record, name, value)
