"""A partition and its owners, one after the other: what was settled and committed does not come again, and whatever
happens to the log, nothing is passed over that was not settled."""

from __future__ import annotations

import random

import pytest

from penstock.offsets import Ledger, OffsetTracker
from penstock.progress import Progress, dump, load

P = "orders"
LOG = "cluster/orders/0"
FITS, TIGHT = 4096, 50  # characters

Record = tuple[int, int]
"""Offset and generation, which together are one record."""


class History:
    """A log that grows with holes, is truncated and written anew; owners that settle in any order, commit, and end.

    Attributes:
        log: Its records.
        settled: Those that were settled at any time.
        done: Those of them that must not come again.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.log: list[Record] = [(0, 0)]
        self.end, self.generation = 1, 0
        self.settled: set[Record] = set()
        self.done: set[Record] = set()
        self.committed: tuple[int, str] | None = None
        self.own()

    def own(self) -> None:
        """A new owner begins where the last commit says."""
        self.tracker: OffsetTracker[str] = OffsetTracker()
        self.position, text = self.committed or (0, "")
        self.tracker.assign(P).inherit(load(text, LOG, self.position))
        self.open: dict[int, tuple[Record, Ledger[str]]] = {}
        self.mine: set[Record] = set()

    @property
    def ledger(self) -> Ledger[str]:
        """Where the partition's messages are noted now."""
        ledger = self.tracker.ledger(P)
        assert ledger is not None
        return ledger

    def grow(self) -> None:
        """Records come; transaction markers and compaction leave holes."""
        for _ in range(self.chance.randint(1, 8)):
            self.end += self.chance.randint(1, 3)
            self.log.append((self.end - 1, self.generation))

    def read(self) -> None:
        """As a connector does: what is of one generation at a time."""
        run = [record for record in self.log if record[0] >= self.position][: self.chance.randint(1, 10)]
        run = [record for record in run if record[1] == run[0][1]]
        if not run:
            return
        offsets = [offset for offset, _ in run]
        fresh = [run[index] for index in self.ledger.unsettled(offsets, run[0][1])]
        assert set(run) - set(fresh) <= self.settled, "passed over, and never settled"
        assert not set(fresh) & self.done, "comes again, although it was committed as settled"
        if fresh:
            self.tracker.begin(P, [offset for offset, _ in fresh], run[0][1])
        self.ledger.read_up_to(offsets[-1] + 1)
        self.position = offsets[-1] + 1
        self.open |= {record[0]: (record, self.ledger) for record in fresh}

    def settle(self) -> None:
        """Most of what is open, in any order."""
        for offset in self.chance.sample(sorted(self.open), k=len(self.open) * self.chance.randint(5, 9) // 9):
            record, ledger = self.open.pop(offset)
            if ledger.done([offset]) == 0:
                self.settled.add(record)
                self.mine.add(record)

    def commit(self) -> None:
        """Its answer may be lost."""
        limit = self.chance.choice([FITS, FITS, FITS, TIGHT])
        for progress in self.tracker.progress().values():
            text = dump(progress, LOG, limit)
            self.committed = (progress.offset, text)
            read = load(text, LOG, progress.offset)
            told = {record for record in self.settled if record[0] < progress.offset}
            if read is not None and read.generation is not None:
                # Those runs that were not read yet may be of a log that was written anew since.
                known = [record for record in self.settled if record[1] <= read.generation]
                told |= {each for each in known if any(first <= each[0] < after for first, after in read.settled)}
            # What does not fit is told no more; else nothing is forgotten that any owner has told.
            self.done = told if limit == TIGHT else told | self.done
            if limit == FITS:
                assert self.mine & set(self.log) <= self.done, "settled, and not told"
            if self.chance.random() < 0.8:
                self.tracker.confirm(P, progress.offset, progress.revision)

    def truncate(self) -> None:
        """By an election that was not clean. The owner reads on from where the logs part, if it was beyond that."""
        self.log = self.log[: self.chance.randint(1, len(self.log))]
        self.end = self.log[-1][0] + 1
        self.generation += 1
        self.done &= set(self.log)
        self.position = min(self.position, self.end)
        if self.committed is not None and self.committed[0] > self.end:
            self.committed = (self.end, self.committed[1])
        self.open = {offset: each for offset, each in self.open.items() if offset < self.end}

    def reset(self) -> None:
        """By an admin, whose tool keeps the text or not."""
        text = self.committed[1] if self.committed is not None and self.chance.random() < 0.5 else ""
        self.committed = (self.chance.randint(0, self.end), text)
        self.done = set()
        self.own()

    def check(self) -> None:
        """What would be committed now is true."""
        progress = self.ledger.progress()
        assert all(ledger.holds(offset) for offset, (_record, ledger) in self.open.items())
        if progress is None:
            return
        assert all(first > progress.offset for first, _after in progress.settled[1:])
        for offset, generation in set(self.log) - self.settled:
            if any(first <= offset < after for first, after in progress.settled):
                # Of a log that was written anew there, which its next reader will see.
                assert progress.generation is not None
                assert generation > progress.generation


@pytest.mark.parametrize("seed", range(2))
def test_owners_one_after_the_other(seed: int) -> None:
    """Three hundred histories, of a hundred events each; of some the log is never written anew."""
    for number in range(300):
        history = History(seed * 1000 + number)
        usual = [history.grow, history.read, history.settle, history.commit] * 3
        seldom = [history.truncate, history.reset] if number % 2 else []
        for _ in range(100):
            history.chance.choice([*usual, history.own, history.own, *seldom])()
            history.check()


@pytest.mark.parametrize("end", [0, 42, 49])
def test_a_log_that_ends_below_what_was_settled_is_another_one(end: int) -> None:
    """It was made anew and is read to its end before it grows: whatever comes then was never settled."""
    tracker: OffsetTracker[str] = OffsetTracker()
    ledger = tracker.assign(P)
    ledger.inherit(Progress(42, ((45, 50),), 0))

    tracker.start(P, end)

    later = range(end, 60)
    assert [later[index] for index in ledger.unsettled(later, 0)] == list(later)
