"""For connectors: many records or messages in few calls, and the one to blame found when a call fails.

async def produce(self, records):
    async with self._lock:
        return await produce_in_batches(records, self._send, limits=BatchLimits(max_records=500))

async def _send(self, records):
    refused = await self._client.store(records)
    return {position: ProduceError("too large", retriable=False) for position in refused}
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from penstock.errors import ConnectorError, NotConnected, ProduceError
from penstock.message import Record

T = TypeVar("T")
E = TypeVar("E")

Rejected = Mapping[int, ProduceError] | None
"""What one call to the backend refused, by position in the batch; empty or None if it stored everything."""


def record_size(record: Record) -> int:
    """Bytes of a record: body, key, names and values of headers."""
    size = len(record.message or b"") + len(record.key or b"")
    if record.headers:
        size += sum(len(name.encode("utf-8", "surrogatepass")) + len(value or b"") for name, value in record.headers)
    return size


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one call to the backend may carry.

    Attributes:
        max_records: Records in a batch.
        max_bytes: Sum of `record_size` in a batch; a larger record is sent alone.
        max_record_bytes: A larger record is rejected; None means no limit.
    """

    max_records: int = 1_000
    max_bytes: int = 16 * 2**20
    max_record_bytes: int | None = None


def split(records: Sequence[Record], limits: BatchLimits, skip: Collection[int] = ()) -> Iterator[list[int]]:
    """Split records into batches, in order.

    Args:
        records: All records of a call.
        limits: What one batch may carry.
        skip: Positions to leave out.

    Yields:
        The positions of one batch.
    """
    batch: list[int] = []
    total = 0
    for position, record in enumerate(records):
        if position in skip:
            continue
        size = record_size(record)
        if batch and (len(batch) == limits.max_records or total + size > limits.max_bytes):
            yield batch
            batch, total = [], 0
        batch.append(position)
        total += size
    if batch:
        yield batch


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split a sequence into pieces of at most `size`, in order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


class AdaptiveLimit:
    """How many items one call carries: half as many after a failure, twice as many after a quick success.

    Args:
        maximum: The limit never grows beyond this.
        initial: Where it begins; None is `maximum`.

    Attributes:
        value: The limit now.
    """

    def __init__(self, maximum: int, initial: int | None = None) -> None:
        self._maximum = maximum
        self.value = maximum if initial is None else initial

    def failed(self, count: int) -> None:
        """A call with `count` items failed, perhaps because it carried too many."""
        self.value = max(1, min(self.value, count) // 2)

    def succeeded(self, count: int) -> None:
        """A call with `count` items succeeded quickly. The limit grows if the call used at least half of it."""
        if 2 * count >= self.value:
            self.value = min(self._maximum, 2 * self.value)

    def fit(self, count: int, size: int, max_bytes: int) -> None:
        """Expect the next items to be as large as the last ones: `count` items of `size` bytes in all."""
        self.value = max(1, min(self._maximum, max_bytes * count // max(size, 1)))

    @contextmanager
    def measure(self, count: int, timeout: float) -> Iterator[None]:
        """Adapt to the call in this block, which has `count` items.

        It failed if it raises `NotConnected`; it was quick if it took less than a quarter of `timeout`.
        """
        began = monotonic()
        try:
            yield
        except NotConnected:
            self.failed(count)
            raise
        if monotonic() - began < timeout / 4:
            self.succeeded(count)


async def run_at_once(calls: Iterable[Callable[[], Awaitable[T]]], limit: int) -> list[T]:
    """Make calls, at most `limit` of them at a time; return their results in order.

    Raises:
        Exception: what the first call that failed has raised, once all calls under way have ended. No call begins after
            a failure.
    """
    turns = asyncio.Semaphore(limit)
    failures: list[BaseException] = []

    async def run(call: Callable[[], Awaitable[T]]) -> T | None:
        async with turns:
            try:
                return None if failures else await call()
            except Exception as error:  # noqa: BLE001  (raised below)
                failures.append(error)
                return None

    results = await asyncio.gather(*map(run, calls))
    if failures:
        raise failures[0]
    return results  # type: ignore[return-value]  # each is of a call


async def produce_in_batches(
    records: Sequence[Record],
    send: Callable[[Sequence[Record]], Awaitable[Rejected]],
    *,
    limits: BatchLimits = BatchLimits(),
    reject: Callable[[Record], ProduceError | None] | None = None,
    at_once: int = 1,
) -> list[ProduceError | None]:
    """Send records in batches, one after the other, and collect what `Producer.produce` returns.

    Args:
        records: What `produce` got.
        send: Stores one batch and returns what the backend refused. If it raises `ProduceError`, nothing of this batch
            is stored; if that error is retriable, the batches after it are not sent, so that the order stays.
        limits: What one batch may carry.
        reject: Why a record is not to be sent at all; None if it is.
        at_once: How many batches may be under way, for a backend without order; 1 keeps the order.

    Raises:
        NotConnected: before any batch was confirmed. After that, the rest is answered as retriable instead, so that
            what was confirmed is not sent twice.
    """
    results = [_rejection(record, limits, reject) for record in records]
    rejected = {position for position, error in enumerate(results) if error is not None}
    batches = list(split(records, limits, rejected))
    stopped: NotConnected | ProduceError | None = None

    async def attempt(batch: Sequence[int]) -> Rejected | NotConnected | ProduceError:
        nonlocal stopped
        if stopped is not None:
            return stopped
        try:
            return await send([records[position] for position in batch])
        except (NotConnected, ProduceError) as error:
            if isinstance(error, NotConnected) or error.retriable:
                stopped = stopped or error
            return error

    # A blocking client's calls are made without an event loop, so one after the other.
    answers = (
        [await attempt(batch) for batch in batches]
        if at_once == 1
        else await run_at_once((partial(attempt, batch) for batch in batches), at_once)
    )
    for batch, answer in zip(batches, answers, strict=True):
        if isinstance(answer, NotConnected):
            if all(isinstance(each, ConnectorError) for each in answers):
                raise answer
            answer = ProduceError(str(answer))
        refused = dict.fromkeys(range(len(batch)), answer) if isinstance(answer, ProduceError) else answer or {}
        for position, refusal in refused.items():
            results[batch[position]] = refusal
    return results


def produce_in_batches_blocking(
    records: Sequence[Record],
    send: Callable[[Sequence[Record]], Rejected],
    *,
    limits: BatchLimits = BatchLimits(),
    reject: Callable[[Record], ProduceError | None] | None = None,
) -> list[ProduceError | None]:
    """`produce_in_batches` for a client that blocks."""

    async def send_at_once(batch: Sequence[Record]) -> Rejected:
        return send(batch)

    return _run(produce_in_batches(records, send_at_once, limits=limits, reject=reject))


def _rejection(
    record: Record, limits: BatchLimits, reject: Callable[[Record], ProduceError | None] | None
) -> ProduceError | None:
    if limits.max_record_bytes is not None and (size := record_size(record)) > limits.max_record_bytes:
        text = f"{size:,} bytes with key and headers; the backend takes at most {limits.max_record_bytes:,}"
        return ProduceError(text, retriable=False)
    return reject(record) if reject is not None else None


async def bisect(items: Sequence[T], attempt: Callable[[Sequence[T]], Awaitable[E | None]]) -> list[tuple[T, E]]:
    """Find the items for which a call fails: halve what fails, until one item is alone.

    Args:
        items: At least one, in the order in which they are tried.
        attempt: Makes the call for these items, all or none of them; returns the error that one of them caused, or
            None.

    Returns:
        The items to blame, each with its error. The call has succeeded for all others.
    """
    error = await attempt(items)
    if error is None:
        return []
    if len(items) == 1:
        return [(items[0], error)]
    middle = len(items) // 2
    return await bisect(items[:middle], attempt) + await bisect(items[middle:], attempt)


def bisect_blocking(items: Sequence[T], attempt: Callable[[Sequence[T]], E | None]) -> list[tuple[T, E]]:
    """`bisect` for a client that blocks."""

    async def attempt_at_once(some: Sequence[T]) -> E | None:
        return attempt(some)

    return _run(bisect(items, attempt_at_once))


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError  # it cannot wait: everything that it awaits returns at once
