"""How far a partition of a log is settled, also as a short text that is stored beside a committed offset.

A log commits one offset, below which everything is done. Messages that are done above it would come again after a
restart: so they are stored as runs in a text beside the offset, and the next owner of the partition skips them.

    text = dump(progress, log="cluster/orders/0", limit=4096)      # stored with progress.offset
    load(text, log="cluster/orders/0", offset=42)                  # the same progress; None if it is about another log

A text is valid for one log, one offset and one generation of that log. For any other text (another program's, damaged,
copied from another offset or cluster) `load` returns None: then nothing is skipped, and messages may come twice.
"""

from __future__ import annotations

from base64 import b85decode, b85encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

PREFIX = "penstock1"  # the number changes with the encoding

Run = tuple[int, int]
"""The first offset of a run, and the one after its last."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is settled of a partition.

    Attributes:
        offset: Everything below it is settled.
        settled: Runs above it that are settled; ascending, with something unsettled between any two.
        generation: The highest generation of the records that were read: a number that a log raises whenever it may
            have written other records at offsets that it had before (Kafka's leader epoch). None if the log has none.
        revision: Changes with what is settled.
    """

    offset: int
    settled: tuple[Run, ...] = ()
    generation: int | None = None
    revision: int = 0

    def unsettled(self, offsets: Sequence[int]) -> list[int]:
        """The positions of the offsets that are in none of the runs."""
        begins = [first for first, _after in self.settled]
        found = []
        for position, offset in enumerate(offsets):
            run = bisect_right(begins, offset) - 1
            if run < 0 or offset >= self.settled[run][1]:
                found.append(position)
        return found

    def above(self, offset: int) -> Progress:
        """The progress without its runs below an offset."""
        left = tuple((max(first, offset), after) for first, after in self.settled if after > offset)
        return replace(self, settled=left)


def joined(runs: Sequence[Run], further: Sequence[Run]) -> list[Run]:
    """Runs, followed by further ones above them."""
    if runs and further and runs[-1][1] == further[0][0]:
        return [*runs[:-1], (runs[-1][0], further[0][1]), *further[1:]]
    return [*runs, *further]


def dump(progress: Progress, log: str, limit: int) -> str:
    """The text that goes with a committed offset.

    Args:
        progress: What is settled.
        log: Names the log: cluster, topic, partition.
        limit: Characters, all of them ASCII. Runs that do not fit are left out from the far end.

    Returns:
        The text; empty if nothing above the offset is settled, if nothing fits, or if the log has no generations:
        then it could not be recognised as the same log.
    """
    if not progress.settled or progress.generation is None:
        return ""
    head = f"{PREFIX}:{progress.offset}:{progress.generation}:"
    room = (limit - len(head) - len("01234567:")) * 4 // 5
    packed = bytearray()
    for pair in _packed(progress.offset, progress.settled):
        if len(packed) + len(pair) > room:
            break
        packed += pair
    if not packed:
        return ""
    body = b85encode(packed).decode("ascii")
    return f"{head}{_seal(log, head, body)}:{body}"


def load(text: str | None, log: str, offset: int) -> Progress | None:
    """The progress in a text of `dump`; None if it is another text, or about another log or offset.

    Args:
        text: What is stored beside the offset.
        log, offset: The log and the offset that it must be about.
    """
    parts = (text or "").split(":", 4)
    if len(parts) != 5 or parts[0] != PREFIX:
        return None
    head, (seal, body) = ":".join(parts[:3]) + ":", parts[3:]
    if seal != _seal(log, head, body) or parts[1] != str(offset):
        return None
    try:
        return Progress(offset, tuple(_unpacked(offset, b85decode(body))), int(parts[2]))
    except ValueError:
        return None


def _seal(log: str, head: str, body: str) -> str:
    return f"{crc32(f'{log}:{head}{body}'.encode()):08x}"


def _packed(offset: int, runs: Iterable[Run]) -> Iterator[bytes]:
    """One number for each run, and a second one where the gap before it is more than one offset."""
    end = offset
    for first, after in runs:
        gap, length = first - end, after - first
        end = after
        yield _number((length - 1) * 2) if gap == 1 else _number((length - 1) * 2 + 1) + _number(gap)


def _unpacked(offset: int, packed: bytes) -> Iterator[Run]:
    numbers = _numbers(packed)
    end = offset
    for number in numbers:
        first = end + (next(numbers, 0) if number % 2 else 1)
        end = first + number // 2 + 1
        yield first, end


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth bit is set if more bytes follow."""
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _numbers(packed: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
