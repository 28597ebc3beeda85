"""Headers as JSON: byte for byte there and back, readable on the way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import DecodeError
from penstock_postgres import headers

NAMES = st.text(st.characters(), max_size=20)


@given(st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=40)), max_size=8), st.sampled_from(["UTF8", "LATIN1"]))
def test_any_headers_come_back_byte_for_byte(pairs: list[tuple[str, bytes]], encoding: str) -> None:
    """Whatever the names, whatever the values, in their order, repeated names included."""
    written = headers.written(pairs, encoding)

    assert list(headers.read(written)) == pairs
    assert encoding == "UTF8" or (written or "").isascii()


def test_text_is_readable_in_the_database() -> None:
    """What is UTF-8 stands there as text; only the rest as base64."""
    written = headers.written([("trace", b"00-4b"), ("city", "Zürich".encode()), ("raw", b"\xff"), ("nul", b"a\0")])

    assert json.loads(written or "") == [
        ["trace", "00-4b"],
        ["city", "Zürich"],
        ["raw", {"base64": "/w=="}],
        ["nul", {"base64": "YQA="}],
    ]


def test_no_headers_are_no_text() -> None:
    """A row without headers has a null there."""
    assert headers.written([]) is None
    assert headers.read(None) == ()


@pytest.mark.parametrize("text", ["{}x", "7", '["a"]', '[["a"]]', '[["a", 7]]', '[["a", {"base64": "?"}]]'])
def test_what_another_program_wrote_wrongly_is_told(text: str) -> None:
    """And is no crash of another kind."""
    with pytest.raises(DecodeError, match="no list of pairs"):
        headers.read(text)
