"""Records as Pub/Sub messages, and back byte for byte."""

from __future__ import annotations

import random

import pytest
from google.pubsub_v1.types import PubsubMessage
from hypothesis import given
from hypothesis import strategies as st

from penstock.message import Headers, Record
from penstock_gcp.wire import read, written

EVERY_BYTE = bytes(range(256))

HEADERS = st.lists(st.tuples(st.text(max_size=300), st.none() | st.binary(max_size=1100)), max_size=5)


def there_and_back(record: Record, ordering: bool = False) -> tuple[bytes | None, bytes | None, Headers]:
    attributes, ordering_key = written(record, ordering)
    assert all(len(name.encode()) <= 256 and len(value.encode()) <= 1024 for name, value in attributes.items())
    assert not any(name.startswith("goog") or not name for name in attributes)
    shuffled = random.sample(sorted(attributes.items()), len(attributes))  # a map has no order on the wire
    raw = PubsubMessage.pb(PubsubMessage(data=record.message or b"", attributes=dict(shuffled)))
    raw.ordering_key = ordering_key
    return read(raw)


@given(HEADERS)
def test_headers_come_back_whatever_they_are(headers: list[tuple[str, bytes | None]]) -> None:
    """Any names, also repeated ones, lone surrogates and those that Google reserves."""
    assert list(there_and_back(Record(b"x", None, headers))[2]) == headers


def test_headers_that_fit_are_attributes() -> None:
    """Filters of subscriptions and other programs see them, and only them if that is enough."""
    assert written(Record(b"x", None, [("a", b"1"), ("b", b"2")]), False) == ({"a": "1", "b": "2"}, "")
    attributes, _ = written(Record(b"x", None, [("b", b"2"), ("a", b"1"), ("bin", b"\xff")]), False)
    assert attributes["a"] == "1"
    assert attributes["b"] == "2"
    assert "bin" not in attributes


@pytest.mark.parametrize("ordering", [False, True])
@pytest.mark.parametrize("key", [b"", b"42", EVERY_BYTE, bytes(5000), "ä".encode()])
def test_a_key_comes_back(key: bytes, ordering: bool) -> None:
    """As the ordering key where it is text, else beside it; one key has one ordering key."""
    assert there_and_back(Record(b"x", key), ordering)[1] == key
    assert bool(written(Record(b"x", key), ordering)[1]) is ordering


def test_a_body_of_nothing_is_marked() -> None:
    """Pub/Sub refuses a message without data and attributes."""
    assert there_and_back(Record(None)) == (None, None, [])
    assert there_and_back(Record(b"")) == (b"", None, [])
    assert written(Record(b""), False)[0]
