"""What log records carry beside their text, for a structured log."""

from __future__ import annotations

import logging

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from core.tests.scripted import Source

from penstock.errors import NotConnected

FIELDS = ("engine", "queue", "position", "stage", "attempt", "error_type", "count")


def fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields that a record has."""
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}


def test_a_failure_is_logged_with_its_fields(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """Of the engine, the queue and the message."""

    def book(number: int) -> None:
        raise ValueError("no such account")

    stand.numbers(1)
    drain(stand.engine(book, [], dead_letters=True, app_name="till", retry={"max_attempts": 1}))

    (record,) = [each for each in caplog.records if "failed at function" in each.getMessage()]
    assert fields(record) == {
        "engine": "till",
        "queue": "in",
        "position": "1",
        "stage": "function",
        "attempt": 1,
        "error_type": "ValueError",
        "count": 1,
    }


def test_a_lost_connection_is_logged_with_its_fields(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """Of the engine and the queue."""
    source = Source([b"1"], consume=[NotConnected("the broker is away")])
    drain(stand.engine(lambda _number: None, [], source=source.queue(), app_name="till"))

    (record,) = [each for each in caplog.records if "connecting again" in each.getMessage()]
    assert fields(record) == {"engine": "till", "queue": "in"}
