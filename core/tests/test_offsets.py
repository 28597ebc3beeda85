"""Offsets: settled in any order, committed only as far as everything below is done."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.offsets import Ledger, OffsetTracker

P = ("orders", 0)


def test_nothing_is_safe_before_the_first_message() -> None:
    """An assignment without messages has nothing to commit."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    ledger = tracker.assign(P)

    assert (ledger.safe(), ledger.next, ledger.span(), tracker.to_commit()) == (None, None, 0, {})


def test_what_is_safe_stops_at_the_smallest_open_offset() -> None:
    """An open message holds back everything after it, however much of that is done."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    ledger = tracker.begin(P, range(40, 60))

    ledger.done(range(41, 60))

    assert ledger.safe() == 40
    assert tracker.to_commit() == {}
    assert ledger.span() == 20

    ledger.done([40])

    assert ledger.safe() == 60
    assert tracker.to_commit() == {P: 60}
    assert ledger.span() == 0


def test_holes_in_the_offsets_hold_nothing_back() -> None:
    """Compaction and transaction markers leave offsets out; the safe offset steps over them."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    ledger = tracker.begin(P, [3, 10, 11, 90])

    ledger.done([3])

    assert ledger.safe() == 10

    ledger.done([11, 10])

    assert ledger.safe() == 90

    ledger.done([90])

    assert ledger.safe() == 91


def test_a_commit_counts_only_when_it_is_confirmed() -> None:
    """A commit that was refused, or never answered, is sent again."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    tracker.begin(P, range(5)).done(range(5))

    assert tracker.to_commit() == {P: 5}
    assert tracker.to_commit() == {P: 5}

    tracker.confirm(P, 5)

    assert tracker.to_commit() == {}


def test_commits_that_were_carried_out_in_the_wrong_order_are_repeated() -> None:
    """An old commit that is stored after a newer one has set the backend back: the newer is offered again."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    ledger = tracker.begin(P, range(10))
    ledger.done(range(3))
    assert tracker.to_commit() == {P: 3}
    ledger.done(range(10))
    assert tracker.to_commit() == {P: 10}

    tracker.confirm(P, 10)
    tracker.confirm(P, 3)

    assert tracker.to_commit() == {P: 10}


def test_a_confirmation_of_an_earlier_assignment_is_ignored() -> None:
    """A partition that came back is committed anew, whatever arrives late from before."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    tracker.begin(P, range(100)).done(range(100))
    assert tracker.to_commit() == {P: 100}
    tracker.revoke(P)
    tracker.begin(P, range(10)).done(range(4))

    tracker.confirm(P, 100)

    assert tracker.to_commit() == {P: 4}


def test_a_late_settlement_of_an_old_assignment_touches_nothing_and_is_counted() -> None:
    """After a rebalance there and back, only the new assignment's own settlements count."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    old = tracker.begin(P, range(10))
    tracker.revoke(P)
    new = tracker.begin(P, range(10))

    assert old.done(range(10)) == 10
    assert not old.live
    assert tracker.late == 10
    assert new.safe() == 0
    assert new.open == 10


def test_a_message_settled_twice_counts_once() -> None:
    """Settling is idempotent, and is no late settlement either."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    ledger = tracker.begin(P, range(3))

    assert ledger.done([0]) == 0
    assert ledger.done([0]) == 0
    assert (ledger.safe(), ledger.open, tracker.late) == (1, 2, 0)


def test_a_log_that_was_rewound_begins_a_new_ledger() -> None:
    """When offsets go back, what was delivered before is fenced, and the lower offset is what gets committed."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    old = tracker.begin(P, range(90, 100))
    old.done(range(90, 95))
    tracker.to_commit()
    tracker.confirm(P, 95)

    new = tracker.begin(P, range(80, 82))

    assert new is not old
    assert old.done([95]) == 1
    new.done([80])
    assert tracker.to_commit() == {P: 81}


def test_to_commit_can_be_asked_for_some_partitions_only() -> None:
    """A revocation commits the partitions it takes away, and no others."""
    tracker: OffsetTracker[str] = OffsetTracker()
    tracker.begin("a", [1]).done([1])
    tracker.begin("b", [1]).done([1])

    assert tracker.to_commit(["b", "unknown"]) == {"b": 2}
    assert tracker.open == 0
    assert [ledger.partition for ledger in tracker.ledgers()] == ["a", "b"]


def test_settling_from_other_threads_loses_nothing() -> None:
    """One thread delivers, others settle, a third commits: at the end everything is safe."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    tracker.assign(P)
    handed: list[tuple[Ledger[tuple[str, int]], range]] = []
    delivered = threading.Event()

    def settle(share: int) -> None:
        seen = 0
        while not (delivered.is_set() and seen == len(handed)):
            while seen < len(handed):
                ledger, offsets = handed[seen]
                ledger.done(list(offsets)[share::2])
                seen += 1

    threads = [threading.Thread(target=settle, args=(share,)) for share in range(2)]
    for thread in threads:
        thread.start()
    committed = 0
    for start in range(0, 20_000, 10):
        offsets = range(start, start + 10)
        handed.append((tracker.begin(P, offsets), offsets))
        for partition, offset in tracker.to_commit().items():
            assert offset >= committed
            committed = offset
            tracker.confirm(partition, offset)
    delivered.set()
    for thread in threads:
        thread.join(30)

    ledger = tracker.ledger(P)
    assert ledger is not None
    assert (ledger.safe(), ledger.open) == (20_000, 0)


@pytest.mark.parametrize("hole", [False, True])
def test_the_cost_of_a_message_does_not_grow_with_what_is_open(hole: bool) -> None:
    """Ten times the messages take about ten times as long, also behind an offset that stays open."""

    def seconds(messages: int) -> float:
        tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
        start = time.thread_time()  # of this thread alone: the machine may have other work
        for first in range(0, messages, 10):
            ledger = tracker.begin(P, range(first, first + 10))
            ledger.done([offset for offset in range(first, first + 10) if offset or not hole])
            ledger.safe()
        return time.thread_time() - start

    small = min(seconds(5_000) for _ in range(9))
    large = min(seconds(50_000) for _ in range(9))

    # A quadratic tracker would take a hundred times as long.
    assert large < small * 50


class AnyOrder(RuleBasedStateMachine):
    """Random assignments, deliveries, settlements, commits, refusals, rewinds; checked against the plain definition."""

    partitions = st.sampled_from(["a", "b"])

    @initialize()
    def begin_empty(self) -> None:
        self.tracker: OffsetTracker[str] = OffsetTracker()
        self.live: dict[str, Ledger[str]] = {}
        self.dead: list[tuple[Ledger[str], int]] = []
        self.open: dict[str, set[int]] = {}
        self.delivered: dict[str, list[int]] = {}
        self.stored: dict[str, int] = {}
        self.in_flight: list[dict[str, int]] = []
        self.late = 0

    def fresh(self, partition: str) -> None:
        self.end(partition)
        self.open[partition], self.delivered[partition] = set(), []

    def end(self, partition: str) -> None:
        if partition in self.live:
            ledger = self.live.pop(partition)
            self.dead += [(ledger, offset) for offset in self.open[partition]]
        self.open.pop(partition, None)
        self.delivered.pop(partition, None)
        self.stored.pop(partition, None)
        for sent in self.in_flight:
            sent.pop(partition, None)

    @rule(partition=partitions)
    def assign(self, partition: str) -> None:
        self.fresh(partition)
        self.live[partition] = self.tracker.assign(partition)

    @rule(partition=partitions)
    def revoke(self, partition: str) -> None:
        self.end(partition)
        self.tracker.revoke(partition)

    @rule(partition=partitions, gaps=st.lists(st.integers(1, 4), min_size=1, max_size=6))
    def deliver(self, partition: str, gaps: list[int]) -> None:
        position = self.delivered[partition][-1] if self.delivered.get(partition) else 0
        offsets = []
        for gap in gaps:
            position += gap
            offsets.append(position)
        self.take(partition, offsets)

    @rule(partition=partitions, back=st.integers(1, 5))
    def rewind(self, partition: str, back: int) -> None:
        if not self.delivered.get(partition):
            return
        first = max(0, self.delivered[partition][-1] - back + 1)
        self.fresh(partition)
        self.take(partition, [first, first + 1])

    def take(self, partition: str, offsets: list[int]) -> None:
        if partition not in self.open:
            self.fresh(partition)
        self.live[partition] = self.tracker.begin(partition, offsets)
        self.open[partition].update(offsets)
        self.delivered[partition] += offsets

    @rule(data=st.data(), partition=partitions)
    def settle(self, data: st.DataObject, partition: str) -> None:
        if not self.open.get(partition):
            return
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.open[partition])), min_size=1, unique=True))
        assert self.live[partition].done(chosen) == 0
        self.open[partition] -= set(chosen)

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def settle_late(self, data: st.DataObject) -> None:
        ledger, offset = data.draw(st.sampled_from(self.dead))
        assert ledger.done([offset]) == 1
        self.late += 1

    @rule()
    def commit(self) -> None:
        self.in_flight.append(self.tracker.to_commit())

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), refused=st.booleans())
    def answer(self, data: st.DataObject, refused: bool) -> None:
        sent = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        if refused:
            return
        for partition, offset in sent.items():
            self.tracker.confirm(partition, offset)
            self.stored[partition] = offset

    @invariant()
    def safe_is_the_smallest_open_offset_or_one_after_the_last(self) -> None:
        for partition, ledger in self.live.items():
            delivered, still_open = self.delivered[partition], self.open[partition]
            expected = min(still_open) if still_open else delivered[-1] + 1 if delivered else None
            assert ledger.safe() == expected
            assert ledger.open == len(still_open)
            assert ledger.span() == (delivered[-1] + 1 - expected if delivered and expected is not None else 0)

    @invariant()
    def nothing_open_lies_below_what_may_be_committed(self) -> None:
        for partition, offset in self.tracker.to_commit().items():
            assert all(offset <= still for still in self.open[partition])

    @invariant()
    def everything_safe_is_stored_or_offered_for_commit(self) -> None:
        offered = self.tracker.to_commit()
        for partition, delivered in self.delivered.items():
            if not delivered:
                continue
            safe = self.live[partition].safe()
            assert offered.get(partition, self.stored.get(partition, delivered[0])) == safe

    @invariant()
    def late_settlements_are_counted(self) -> None:
        assert self.tracker.late == self.late


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyOrder = AnyOrder.TestCase
