"""Offsets under whatever may happen to them, in any order; checked against the plain definition of what is safe."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.offsets import Ledger, OffsetTracker


class AnyOrder(RuleBasedStateMachine):
    """Random assignments, deliveries, settlements, commits, refusals, rewinds; checked against the plain definition."""

    partitions = st.sampled_from(["a", "b"])

    @initialize()
    def begin_empty(self) -> None:
        self.tracker: OffsetTracker[str] = OffsetTracker()
        self.live: dict[str, Ledger[str]] = {}
        self.dead: list[tuple[Ledger[str], int]] = []
        self.open: dict[str, dict[int, Ledger[str]]] = {}
        self.delivered: dict[str, list[int]] = {}
        self.stored: dict[str, int] = {}
        self.in_flight: list[dict[str, int]] = []
        self.late = 0

    def fresh(self, partition: str) -> None:
        self.end(partition)
        self.open[partition], self.delivered[partition] = {}, []

    def end(self, partition: str) -> None:
        self.live.pop(partition, None)
        self.dead += [(ledger, offset) for offset, ledger in self.open.pop(partition, {}).items()]
        self.delivered.pop(partition, None)
        self.forget_commits(partition)

    def forget_commits(self, partition: str) -> None:
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
        still_open = self.open[partition]
        self.dead += [(still_open.pop(offset), offset) for offset in sorted(still_open) if offset >= first]
        self.forget_commits(partition)
        self.take(partition, [first, first + 1])

    def take(self, partition: str, offsets: list[int]) -> None:
        if partition not in self.open:
            self.fresh(partition)
        ledger = self.live[partition] = self.tracker.begin(partition, offsets)
        self.open[partition] |= dict.fromkeys(offsets, ledger)
        self.delivered[partition] += offsets

    @rule(data=st.data(), partition=partitions)
    def settle(self, data: st.DataObject, partition: str) -> None:
        if not self.open.get(partition):
            return
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.open[partition])), min_size=1, unique=True))
        for offset in chosen:
            assert self.open[partition].pop(offset).done([offset]) == 0

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def settle_late(self, data: st.DataObject) -> None:
        ledger, offset = data.draw(st.sampled_from(self.dead))
        assert not ledger.holds(offset)
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
    def whatever_is_open_can_be_settled(self) -> None:
        assert all(ledger.holds(offset) for still in self.open.values() for offset, ledger in still.items())

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
            assert offered.get(partition, self.stored.get(partition)) == safe

    @invariant()
    def late_settlements_are_counted(self) -> None:
        assert self.tracker.late == self.late


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyOrder = AnyOrder.TestCase
