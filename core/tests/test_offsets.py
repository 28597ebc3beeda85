"""Offsets: settled in any order, committed only as far as everything below is done."""

from __future__ import annotations

import threading
import time

import pytest

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
    assert ledger.span() == 20
    assert tracker.to_commit() == {P: 40}
    tracker.confirm(P, 40)
    assert tracker.to_commit() == {}

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
    """Settling is idempotent, and is not a late settlement either."""
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


def test_where_a_ledger_begins_is_committed_before_anything_is_done() -> None:
    """A group without a commit would begin behind it the next time; the backend has to say yes, as to every commit."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    ledger = tracker.begin(P, range(40, 43))

    assert tracker.to_commit() == {P: 40}
    assert ledger.committed is None
    tracker.confirm(P, 40)
    assert (tracker.to_commit(), ledger.committed) == ({}, 40)

    rewound = tracker.begin(P, range(30, 33))

    assert tracker.to_commit() == {P: 30}
    assert rewound.committed is None


def test_reading_may_start_where_no_message_is() -> None:
    """Where it starts is committed, unless messages have told it better; of no partition that is not ours."""
    tracker: OffsetTracker[str] = OffsetTracker()
    for partition in ("empty", "full"):
        tracker.assign(partition)
    tracker.begin("full", [7])

    for partition in ("empty", "full", "not ours"):
        tracker.start(partition, 10)

    assert tracker.to_commit() == {"empty": 10, "full": 7}
    tracker.confirm("empty", 10)
    tracker.begin("empty", [12, 13]).done([12])
    assert tracker.to_commit() == {"empty": 13, "full": 7}


def test_what_is_open_below_a_rewind_holds_back_the_commit_until_it_is_done() -> None:
    """It does not come again, so its own settlement counts, through as many rewinds as there were."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    first = tracker.begin(P, range(100))
    first.done(range(50))
    second = tracker.begin(P, range(95, 110))
    third = tracker.begin(P, range(90, 100))

    third.done(range(90, 100))
    assert tracker.to_commit() == {P: 50}
    assert third.open == 40

    assert second.done([95, 109]) == 2
    assert first.done(range(50, 100)) == 10
    assert tracker.late == 12
    assert tracker.to_commit() == {P: 100}


def test_a_ledger_knows_which_of_its_deliveries_can_still_be_settled() -> None:
    """Those that a rewind delivers again cannot, and none once the partition went."""
    tracker: OffsetTracker[tuple[str, int]] = OffsetTracker()
    old = tracker.begin(P, range(10))
    assert all(map(old.holds, range(10)))

    new = tracker.begin(P, range(6, 8))
    assert [offset for offset in range(10) if old.holds(offset)] == list(range(6))
    assert new.holds(6)

    tracker.revoke(P)
    assert not any(map(old.holds, range(10)))
    assert old.done([1]) == 1


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
