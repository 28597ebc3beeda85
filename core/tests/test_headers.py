"""Headers as JSON: byte for byte there and back, readable on the way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import DecodeError
from penstock.headers import dump_headers, load_headers

NAMES = st.text(st.characters(), max_size=20)


@given(st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=40)), max_size=8), st.booleans())
def test_any_headers_come_back_byte_for_byte(pairs: list[tuple[str, bytes | None]], ascii_only: bool) -> None:
    """Whatever the names, whatever the values, in their order, repeated names included."""
    written = dump_headers(pairs, ascii_only=ascii_only)

    assert list(load_headers(written)) == pairs
    assert not ascii_only or (written or "").isascii()


def test_text_is_readable() -> None:
    """What is UTF-8 stands there as text; only the rest as base64."""
    written = dump_headers([("trace", b"00-4b"), ("city", "Zürich".encode()), ("raw", b"\xff"), ("nul", b"a\0")])

    assert json.loads(written or "") == [
        ["trace", "00-4b"],
        ["city", "Zürich"],
        ["raw", {"base64": "/w=="}],
        ["nul", {"base64": "YQA="}],
    ]


def test_no_headers_need_no_text() -> None:
    """A row without headers has a null there."""
    assert dump_headers([]) is None
    assert load_headers(None) == ()


@pytest.mark.parametrize("text", ["{}x", "7", '["a"]', '[["a"]]', '[["a", 7]]', '[["a", {"base64": "?"}]]'])
def test_what_another_program_wrote_wrongly_is_reported(text: str) -> None:
    """As an error of decoding, never of another kind."""
    with pytest.raises(DecodeError, match="not a list of pairs"):
        load_headers(text)
