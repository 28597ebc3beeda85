"""How many records one statement carries, and how large a record may be at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.errors import ProduceError
from penstock.message import Record

MOST_RECORDS = 1_000  # a statement; more makes nothing faster, and whoever waits for the connection waits longer
MOST_BYTES = 16 * 1024 * 1024  # a statement
LARGEST = 1_000_000_000  # bytes of a record; the server hangs up on a statement of more than 2**30, for ever


def weight(record: Record) -> int:
    """How many bytes a record is made of."""
    size = len(record.message or b"") + len(record.key or b"")
    if record.headers:
        size += sum(len(name) + len(value or b"") for name, value in record.headers)
    return size


def too_large(record: Record) -> ProduceError | None:
    """Why a record is too large for PostgreSQL; None if it is not."""
    size = weight(record)
    if size <= LARGEST:
        return None
    return ProduceError(f"{size:,} bytes; PostgreSQL takes at most {LARGEST:,} in a message", retriable=False)


class Portion:
    """How many records one statement carries: what did not come through in time is tried with fewer.

    Attributes:
        most: So many at present.
    """

    def __init__(self) -> None:
        self.most = MOST_RECORDS

    def failed(self, count: int) -> None:
        """A statement with so many records did not come through, perhaps because that was too much."""
        self.most = max(1, min(self.most, count) // 2)

    def succeeded(self, count: int, quickly: bool) -> None:
        """One with so many came through, in a small part of its time or not."""
        # More than half: calls that come as a whole may not fill it, and one of two on end does so to this extent.
        if quickly and 2 * count >= self.most:
            self.most = min(MOST_RECORDS, 2 * self.most)


def parts(
    records: Sequence[Record], results: Sequence[ProduceError | None], portion: Portion | None = None
) -> Iterator[list[int]]:
    """The positions of what is not refused yet, so many at a time as one statement shall carry."""
    most = portion.most if portion else MOST_RECORDS
    part: list[int] = []
    size = 0
    for position, record in enumerate(records):
        if results[position] is not None:
            continue
        more = weight(record)
        if part and (len(part) == most or size + more > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(position)
        size += more
    if part:
        yield part
