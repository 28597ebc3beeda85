"""What a record is on the wire of NATS, where headers are text."""

from __future__ import annotations

import pytest

from penstock.message import Record
from penstock_nats.wire import read, size, written_headers

EVERY_BYTE = bytes(range(256))


def test_plain_headers_are_seen_by_other_programs() -> None:
    """As they are; only the key is encoded."""
    record = Record(b"body", key=b"order 42", headers=[("trace-id", b"abc"), ("source", b"a shop")])

    assert written_headers(record) == {"trace-id": "abc", "source": "a shop", "Penstock-Key": "order%2042"}


@pytest.mark.parametrize(
    "headers",
    [
        [("a", b"1"), ("A", b"2")],
        [("a", b"1"), ("b", b""), ("a", b"2")],
        [("binary", EVERY_BYTE)],
        [("spaces", b" at the ends ")],
        [("line", b"break\r\nNats-Rollup: all")],
        [("Nats-Msg-Id", b"1")],
        [("penstock-key", b"not ours")],
        [("a: b", b"1")],
        [("ü\ud800", b"1"), ("", b"nameless")],
    ],
)
def test_headers_that_nats_would_change_come_back_byte_for_byte(headers: list[tuple[str, bytes]]) -> None:
    """They travel together in one header of ours, in their order."""
    written = written_headers(Record(b"body", EVERY_BYTE, headers))

    assert written.keys() == {"Penstock-Headers", "Penstock-Key"}
    assert all(value.isascii() and value.isprintable() for value in written.values())
    assert read(b"body", written) == (b"body", EVERY_BYTE, headers)


def test_a_null_body_is_marked() -> None:
    """An empty one is not, and an empty key is not a missing one."""
    assert read(b"", written_headers(Record(None, b""))) == (None, b"", [])
    assert read(b"", written_headers(Record(b""))) == (b"", None, ())


def test_headers_of_the_server_are_no_part_of_a_message() -> None:
    """It adds some to what was scheduled."""
    assert read(b"x", {"Nats-Scheduler": "later.x", "a": "1"}) == (b"x", None, [("a", b"1")])


def test_the_size_is_never_less_than_what_goes_over_the_wire() -> None:
    """A server ends the connection of a client that sends more than it takes."""
    headers = {"a": "1", "Penstock-Key": "k"}
    wire = b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n"

    assert len(wire + b"body") <= size(b"body", headers) <= len(wire + b"body") + 16
