"""The serializer `json`: strict both ways."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.builtin.json_serializer import JsonSerializer

JSON = JsonSerializer()

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@dataclass
class Point:
    x: int


class Colour(Enum):
    RED = "red"


Pair = namedtuple("Pair", "left right")


def _nested(depth: int) -> list[Any]:
    data: list[Any] = []
    for _ in range(depth - 1):
        data = [data]
    return data


@given(PLAIN)
def test_plain_data_come_back_as_they_were(data: Any) -> None:
    """Whatever JSON can say survives, type for type, and is JSON to others."""
    body = JSON.serialize(data)

    assert json.dumps(JSON.deserialize(body)) == json.dumps(data)
    assert json.loads(body) == data


@pytest.mark.parametrize(
    "data",
    [
        float("nan"),
        {"a": [1.0, {"b": float("inf")}]},
        [None, -float("inf")],
        (None, (float("nan"),)),
        {"null": "null", "x": float("nan")},
        Decimal("1.0"),
        datetime.now(UTC),
        date(2020, 1, 1),
        Point(1),
        Pair(1, 2),
        b"bytes",
        {1, 2},
        object(),
        {1: "a key that is not a text"},
        {None: 1},
        2**64,
        -(2**63) - 1,
        "a lone surrogate \ud800",
        {"\udfff": 1},
        _nested(300),
        (each for each in "generator"),
        complex(1, 1),
        1 + 2j,
        Point,
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_is_no_plain_data_is_refused(data: Any) -> None:
    """Nothing is turned into text or null on the way: the error is a ValueError that says so."""
    with pytest.raises(ValueError, match="cannot be written as JSON: "):
        JSON.serialize(data)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (None, b"null"),
        (
            {"a": None, "n": [None, 1.5, True, "null", {"k": (None,)}]},
            b'{"a":null,"n":[null,1.5,true,"null",{"k":[null]}]}',
        ),
        (OrderedDict(a=1), b'{"a":1}'),
        ((1, 2), b"[1,2]"),
        (UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        ([Colour.RED, None], b'["red",null]'),
        ("über", '"über"'.encode()),
        (2**64 - 1, b"18446744073709551615"),
    ],
)
def test_what_is_written(data: Any, body: bytes) -> None:
    """UTF-8, no spaces; a null among the values is not an obstacle."""
    assert JSON.serialize(data) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b"\xff\xfe",
        b'{"a":1}{"b":2}',
        b"{'a':1}",
        b'{"a":1,}',
        b"[" * 5000 + b"]" * 5000,
        b'{"a":' * 100_000,
        b"\x00",
        None,
        5,
    ],
    ids=lambda body: repr(body)[:20],
)
def test_bytes_that_are_no_json_are_refused(body: Any) -> None:
    """Also what other parsers let pass, and what would make them crash: always a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011  (orjson's texts are orjson's)
        JSON.deserialize(body)


def test_an_error_shows_nothing_of_the_data() -> None:
    """The text may end in a log."""
    with pytest.raises(ValueError) as unwritten:  # noqa: PT011
        JSON.serialize({"password": "hunter2", "when": datetime.now(UTC)})
    with pytest.raises(ValueError) as unread:  # noqa: PT011
        JSON.deserialize(b'{"password": "hunter2", ')

    assert "hunter2" not in str(unwritten.value) + str(unread.value)
