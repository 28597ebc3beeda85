"""Batches: everything is sent once, in order, and the record to blame is the only one that pays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.bulk import (
    AdaptiveLimit,
    BatchLimits,
    bisect,
    bisect_blocking,
    chunks,
    produce_in_batches,
    produce_in_batches_blocking,
    record_size,
    run_at_once,
    split,
)
from penstock.errors import NotConnected, ProduceError
from penstock.message import Record

TOO_LARGE = ProduceError("too large", retriable=False)
FULL = ProduceError("full", retriable=True)


def bodies(*texts: bytes) -> list[Record]:
    return [Record(text) for text in texts]


@pytest.mark.parametrize(
    ("record", "size"),
    [
        (Record(None), 0),
        (Record(b"body", b"key"), 7),
        (Record(b"", None, [("a", b"12"), ("a", None), ("ü", b"")]), 1 + 2 + 1 + 2),
        (Record(b"", None, [("\ud800", b"")]), 3),
    ],
)
def test_a_record_is_as_large_as_its_body_key_and_headers(record: Record, size: int) -> None:
    """Names of headers count as UTF-8, also those that are not valid."""
    assert record_size(record) == size


@given(
    st.lists(st.integers(0, 30)),
    st.integers(1, 5),
    st.integers(1, 50),
    st.sets(st.integers(0, 20)),
)
def test_batches_hold_everything_once_in_order_within_the_limits(
    sizes: list[int], max_records: int, max_bytes: int, skip: set[int]
) -> None:
    """Except a record that is larger than a batch, which is alone."""
    records = [Record(bytes(size)) for size in sizes]
    batches = list(split(records, BatchLimits(max_records, max_bytes), skip))

    assert [i for batch in batches for i in batch] == [i for i in range(len(sizes)) if i not in skip]
    for batch in batches:
        assert 1 <= len(batch) <= max_records
        assert len(batch) == 1 or sum(sizes[i] for i in batch) <= max_bytes


def test_chunks_have_the_size_and_the_order() -> None:
    """The last one has the rest; nothing makes no chunk."""
    assert list(chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(chunks([], 2)) == []


def test_a_limit_halves_after_a_failure_and_doubles_after_a_quick_success() -> None:
    """Down to one, up to the maximum; a call that used little of it says nothing."""
    limit = AdaptiveLimit(100)
    for expected in (50, 25, 12, 6, 3, 1, 1):
        limit.failed(100)
        assert limit.value == expected
    limit.succeeded(1)
    limit.succeeded(2)
    assert limit.value == 4
    limit.succeeded(1)
    assert limit.value == 4
    for _ in range(10):
        limit.succeeded(100)
    assert limit.value == 100


def test_a_limit_fits_a_budget_of_bytes() -> None:
    """As many as weigh no more, going by the last ones; one at least, the maximum at most."""
    limit = AdaptiveLimit(500, initial=50)
    for count, size, expected in [(10, 1_000, 10), (3, 3_000_000, 1), (5, 0, 500)]:
        limit.fit(count, size, max_bytes=1_000)
        assert limit.value == expected


def test_a_measured_call_that_loses_the_connection_halves_the_limit() -> None:
    """Its error goes on; an error of another kind says nothing about the size; a slow success neither."""
    limit = AdaptiveLimit(100, initial=40)
    with pytest.raises(NotConnected), limit.measure(40, timeout=60.0):
        raise NotConnected("away")
    assert limit.value == 20
    with pytest.raises(ValueError, match="x"), limit.measure(20, timeout=60.0):
        raise ValueError("x")
    with limit.measure(20, timeout=0.0):
        pass
    assert limit.value == 20
    with limit.measure(20, timeout=60.0):
        pass
    assert limit.value == 40


class Backend:
    """Stores batches until it shall not."""

    def __init__(self, **answers: object) -> None:
        self.stored: list[bytes] = []
        self._answers = answers  # the first body of a batch → what happens then

    def send(self, records: Sequence[Record]) -> dict[int, ProduceError] | None:
        texts = [record.message or b"" for record in records]
        answer = self._answers.get(texts[0].decode())
        if isinstance(answer, Exception):
            raise answer
        refused: dict[int, ProduceError] = answer if isinstance(answer, dict) else {}
        self.stored += [text for i, text in enumerate(texts) if i not in refused]
        return refused or None


def produce(backend: Backend, records: Sequence[Record], limits: BatchLimits) -> list[ProduceError | None]:
    """By both drivers, which must agree; the second works on what the first has left."""
    stored = list(backend.stored)
    blocking = produce_in_batches_blocking(records, backend.send, limits=limits)
    once, backend.stored = backend.stored, stored

    async def send(batch: Sequence[Record]) -> dict[int, ProduceError] | None:
        await asyncio.sleep(0)
        return backend.send(batch)

    results = asyncio.run(produce_in_batches(records, send, limits=limits))
    assert (list(map(str, results)), backend.stored) == (list(map(str, blocking)), once)
    return results


def test_what_the_backend_refuses_is_answered_in_its_place() -> None:
    """Its neighbours and the batches after it are stored."""
    backend = Backend(a={1: TOO_LARGE})

    assert produce(backend, bodies(b"a", b"b", b"c"), BatchLimits(max_records=2)) == [None, TOO_LARGE, None]
    assert backend.stored == [b"a", b"c"]


def test_a_record_beyond_the_limit_is_rejected_with_both_sizes() -> None:
    """The others are sent without it; what the connector rejects itself as well."""
    backend = Backend()
    too_large, other = produce(backend, [Record(b"12345678", b"key"), Record(b"b")], BatchLimits(max_record_bytes=10))

    assert too_large is not None
    assert not too_large.retriable
    assert str(too_large) == "11 bytes with key and headers; the backend takes at most 10"
    assert other is None
    assert backend.stored == [b"b"]
    assert produce_in_batches_blocking(bodies(b"a", b"b"), backend.send, reject=lambda _record: TOO_LARGE) == [
        TOO_LARGE,
        TOO_LARGE,
    ]


def test_a_backend_that_goes_away_at_once_raises() -> None:
    """Nothing is known to be stored, so all of it is sent again."""
    with pytest.raises(NotConnected):
        produce_in_batches_blocking(bodies(b"a", b"b"), Backend(a=NotConnected("away")).send)


def test_a_backend_that_goes_away_half_way_leaves_what_is_confirmed() -> None:
    """Only the rest is to be sent again; a record rejected for good stays rejected."""
    backend = Backend(b=NotConnected("away"))
    records = [*bodies(b"a", b"b"), Record(bytes(50)), *bodies(b"c")]
    first, *rest = produce(backend, records, BatchLimits(max_records=1, max_record_bytes=20))

    assert first is None
    assert [error is not None and error.retriable for error in rest] == [True, False, True]
    assert backend.stored == [b"a"]


@pytest.mark.parametrize(
    ("error", "answers", "stored"),
    [(FULL, [None, FULL, FULL], [b"a"]), (TOO_LARGE, [None, TOO_LARGE, None], [b"a", b"c"])],
)
def test_a_batch_that_is_refused_whole(error: ProduceError, answers: object, stored: object) -> None:
    """For now: nothing after it is sent, so that the order stays. For good: the rest is stored."""
    backend = Backend(b=error)

    assert produce(backend, bodies(b"a", b"b", b"c"), BatchLimits(max_records=1)) == answers
    assert backend.stored == stored


def test_batches_of_a_backend_without_order_are_sent_side_by_side() -> None:
    """No more than `at_once`; what was confirmed beside a failure is not sent again, and no batch begins after it."""

    async def main() -> None:
        under_way, most = 0, 0
        sent: list[bytes | None] = []

        async def send(batch: Sequence[Record]) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.2 if batch[0].message == b"slow" else 0.01)
            under_way -= 1
            sent.extend(record.message for record in batch)
            if batch[0].message == b"bad":
                raise NotConnected("away")

        records = bodies(*(b"%d" % number for number in range(9)))
        assert await produce_in_batches(records, send, limits=BatchLimits(max_records=1), at_once=3) == [None] * 9
        assert most == 3

        sent.clear()
        answers = await produce_in_batches(
            bodies(b"slow", b"bad", b"c"), send, limits=BatchLimits(max_records=1), at_once=2
        )
        assert [answer is None for answer in answers] == [True, False, False]
        assert sent == [b"bad", b"slow"]
        with pytest.raises(NotConnected):
            await produce_in_batches(bodies(b"bad", b"bad"), send, limits=BatchLimits(max_records=1), at_once=2)

    asyncio.run(main())


def test_calls_at_once_end_before_an_error_is_raised() -> None:
    """Their results keep the order; none begins after a failure."""

    async def main() -> None:
        ended: list[int] = []

        def call(number: int) -> Any:
            async def work() -> int:
                await asyncio.sleep(0.01 * (5 - number))
                ended.append(number)
                if number == 2:
                    raise NotConnected("away")
                return number

            return work

        assert await run_at_once([call(0), call(1), call(3)], 3) == [0, 1, 3]
        assert ended == [3, 1, 0]
        ended.clear()
        with pytest.raises(NotConnected):
            await run_at_once([call(1), call(2), call(3), call(4)], 2)
        assert ended == [2, 1]

    asyncio.run(main())


@given(st.lists(st.booleans(), min_size=1, max_size=40))
@settings(deadline=None)  # it starts event loops, which a busy machine may make slow
def test_bisection_finds_exactly_the_items_to_blame(guilty: list[bool]) -> None:
    """In order; the call has succeeded once for each of the others."""
    done: list[int] = []

    def attempt(items: Sequence[int]) -> str | None:
        if any(guilty[item] for item in items):
            return f"{len(items)} items"
        done.extend(items)
        return None

    async def attempt_later(items: Sequence[int]) -> str | None:
        await asyncio.sleep(0)
        return attempt(items)

    found = bisect_blocking(range(len(guilty)), attempt)

    assert found == [(item, "1 items") for item, blamed in enumerate(guilty) if blamed]
    assert done == [item for item, blamed in enumerate(guilty) if not blamed]
    assert asyncio.run(bisect(range(len(guilty)), attempt_later)) == found
