"""What goes in comes out; what is not plain data is refused, whichever side sent it."""

from __future__ import annotations

import datetime
import decimal
import time
import tracemalloc
import uuid
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgpack.exceptions import StackError

from penstock_msgpack.serializer import MsgpackSerializer

SERIALIZER = MsgpackSerializer()

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(timezones=st.just(datetime.UTC))
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc") | st.binary(), inner, max_size=4),
)


@given(PLAIN)
def test_plain_data_comes_out_as_it_went_in(data: Any) -> None:
    """Of every type that the format has, at any depth."""
    assert SERIALIZER.deserialize(SERIALIZER.serialize(data)) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_data_or_an_error(body: bytes) -> None:
    """Nothing else can happen, and whatever was read can be written again."""
    try:
        data = SERIALIZER.deserialize(body)
    except (ValueError, OverflowError):
        return

    again = SERIALIZER.deserialize(SERIALIZER.serialize(data))
    assert repr(again) == repr(data)  # repr: nan is not equal to itself


@given(PLAIN, st.data())
def test_a_body_that_is_cut_does_not_parse(data: Any, draw: st.DataObject) -> None:
    """At any place."""
    body = SERIALIZER.serialize(data)

    with pytest.raises(ValueError, match=r"incomplete|exceeds max"):
        SERIALIZER.deserialize(body[: draw.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(b"\x91" * 100_000, StackError, id="lists in lists"),
        pytest.param(b"\x81\xa1a" * 100_000, StackError, id="maps in maps"),
        pytest.param(b"\x91" * 100_000 + b"\x01", StackError, id="lists in lists, complete"),
        pytest.param(b"\xdd\xff\xff\xff\xff", ValueError, id="a list of four billion"),
        pytest.param(b"\xdf\xff\xff\xff\xff", ValueError, id="a map of four billion"),
        pytest.param(b"\xdb\xff\xff\xff\xffabc", ValueError, id="four gigabytes of text"),
        pytest.param(b"\xc6\xff\xff\xff\xffabc", ValueError, id="four gigabytes of bytes"),
        pytest.param(b"\xc9\xff\xff\xff\xff\x05abc", ValueError, id="four gigabytes of an extension"),
        pytest.param(b"\xdd\x00\x0f\x42\x40" * 1000 + bytes(995_000), ValueError, id="a thousand lists of a million"),
        pytest.param(b"\xdd\x00\x00\x27\x10" * 1000 + bytes(5_000), ValueError, id="a thousand lists of ten thousand"),
    ],
)
def test_a_body_that_promises_what_it_does_not_have_costs_little(body: bytes, error: type[Exception]) -> None:
    """It is refused without a crash, and without the memory and the time that it asks for."""
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(error):
            SERIALIZER.deserialize(body)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # Lists within lists may each reserve some room before it turns out that the body ends.
    assert peak < 200_000_000
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b"", "incomplete", id="nothing"),
        pytest.param(b"\x01\x02", "extra data", id="two values"),
        pytest.param(b"\xc1", "$", id="the byte that is never used"),
        pytest.param(b"\xa1\xff", "utf-8", id="text that is not UTF-8"),
        pytest.param(b"\x81\x01\x01", "int is not allowed for map key", id="a number as key"),
        pytest.param(b"\x81\x91\x01\x01", "not allowed for map key", id="a list as key"),
        pytest.param(b"\xd4\x05a", "extension type 5", id="an extension"),
        pytest.param(b"\xd4\xff\x00", "timestamp", id="a timestamp of the wrong length"),
    ],
)
def test_what_is_no_plain_data_is_refused(body: bytes, says: str) -> None:
    """With what was wrong, as far as msgpack says it."""
    with pytest.raises(ValueError, match=says):
        SERIALIZER.deserialize(body)


def test_a_timestamp_out_of_range_is_refused() -> None:
    """There is no datetime for the year 106,751,991."""
    with pytest.raises(OverflowError):
        SERIALIZER.deserialize(b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + b"\xff" * 7)


@pytest.mark.parametrize(
    "data",
    [
        {1, 2},
        decimal.Decimal("1.5"),
        uuid.uuid4(),
        datetime.datetime(2024, 1, 1),  # noqa: DTZ001  (naive is the point)
        object(),
        2**64,
        "\ud800",
        {"a": [object()]},
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_the_format_does_not_have_is_refused_when_writing(data: Any) -> None:
    """And the serializer is as good as new afterwards."""
    with pytest.raises((TypeError, ValueError, OverflowError)):
        SERIALIZER.serialize(["begun", data])

    assert SERIALIZER.deserialize(SERIALIZER.serialize("next")) == "next"


def test_too_deep_nesting_is_refused_when_writing() -> None:
    """Instead of overflowing the stack."""
    data: list[Any] = []
    for _level in range(100_000):
        data = [data]

    with pytest.raises(ValueError, match="recursion limit"):
        SERIALIZER.serialize(data)


def test_other_implementations_read_it() -> None:
    """The bytes are the specification's: text as str, bytes as bin, a tuple as array."""
    body = SERIALIZER.serialize({"a": (1, b"\xff", "ü")})

    assert body == b"\x81\xa1a\x93\x01\xc4\x01\xff\xa2\xc3\xbc"
    assert SERIALIZER.deserialize(msgpack.packb({"old": "raw"}, use_bin_type=False)) == {"old": "raw"}
