"""Frames: what goes in comes out."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from penstock.message import QueueMessage, Record
from penstock_memory import wire
from penstock_memory.remote import chunks

BYTES = st.binary(max_size=30)
HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | BYTES), max_size=3)
RECORDS = st.builds(Record, st.none() | BYTES, st.none() | BYTES, HEADERS, st.floats(0, 100))


async def _through_a_stream(frame: bytes) -> tuple[wire.Header, bytes]:
    reader = asyncio.StreamReader()
    reader.feed_data(frame)
    reader.feed_eof()
    return await wire.read(reader)


@given(st.lists(RECORDS, max_size=5))
def test_records_come_out_as_they_went_in(records: list[Record]) -> None:
    """Any bytes, any number of them, any header name."""
    rows, bodies = wire.pack_records(records)
    header, payload = asyncio.run(_through_a_stream(wire.encode({"rows": rows}, bodies)))
    back = wire.unpack_records(header["rows"], payload)

    assert [(r.message, r.key, list(r.headers), r.delay) for r in back] == [
        (r.message, r.key, list(r.headers), r.delay) for r in records
    ]


@given(st.lists(RECORDS, max_size=5), st.integers(0, 2**62), st.floats(0, 2e9), st.integers(1, 99))
def test_messages_come_out_as_they_went_in(records: list[Record], token: int, timestamp: float, attempts: int) -> None:
    """With token, time, attempts and position."""
    messages = [QueueMessage(token, r.message, r.key, r.headers, timestamp, attempts, "7") for r in records]
    rows, bodies = wire.pack_messages(messages)
    header, payload = asyncio.run(_through_a_stream(wire.encode({"rows": rows}, bodies)))
    back = wire.unpack_messages(header["rows"], payload)

    for got, sent in zip(back, messages, strict=True):
        assert (got.message_context, got.message, got.key) == (token, sent.message, sent.key)
        assert list(got.headers) == list(sent.headers)
        assert (got.timestamp, got.attempts, got.position) == (timestamp, attempts, "7")


def test_a_list_is_cut_by_bytes_and_by_number() -> None:
    """No part is empty, none is far beyond a chunk, and together they are the list."""
    big, small = Record(b"x" * (wire.CHUNK // 2)), Record(b"x")
    headed = Record(b"", headers=[("h", b"x" * wire.CHUNK)])
    for records in ([], [small], [big] * 5, [small, headed, small], [small] * (2 * wire.CHUNK_ROWS + 1)):
        parts = chunks(records)
        assert [record for part in parts for record in part] == records
        assert all(0 < len(part) <= wire.CHUNK_ROWS + 1 for part in parts)

    assert [len(part) for part in chunks([big] * 5)] == [2, 2, 1]
    assert [len(part) for part in chunks([small, headed, small])] == [2, 1]
