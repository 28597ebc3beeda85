"""For connectors to ordered logs: settle messages in any order, and commit only what is safe.

A log commits one number per partition: everything below it is done. Messages are settled in any order, so the number
that may be committed is the smallest offset still open, or the one after the last delivered when nothing is open.
Offsets may have holes (compaction, transaction markers); nothing waits for an offset that never came.

    tracker = OffsetTracker()
    tracker.assign(("orders", 0))
    ledger = tracker.begin(("orders", 0), range(40, 60))    # before the messages are handed out
    ledger.done([41, 40])                                   # in any order, from any thread
    tracker.to_commit()                                     # {("orders", 0): 42}
    tracker.confirm(("orders", 0), 42)                      # once the backend has confirmed it
    tracker.revoke(("orders", 0))                           # another consumer owns it now
    ledger.done([42])                                       # changes nothing; counted in tracker.late

What is settled above that offset would come again after a restart. A backend that stores a text beside the offset can
keep it there: `progress` instead of `to_commit`, `penstock.progress.dump` to make the text, and in the new owner

    ledger = tracker.assign(("orders", 0))
    ledger.inherit(load(text, log="cluster/orders/0", offset=42))   # what an earlier owner had settled
    fresh = ledger.unsettled(range(42, 60), generation=3)           # positions of those to begin() and deliver
    ledger.read_up_to(60)                                           # then the others need no settlement

The offset where reading begins is committed as well: a group without a committed offset may begin elsewhere next
time, behind messages that were delivered and not settled.

Every method takes the tracker's lock for a moment, and may be called from any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from penstock.progress import Progress, Run, joined

Partition = TypeVar("Partition", bound=Hashable)


class Ledger(Generic[Partition]):
    """What is open in one assignment of one partition.

    A new assignment gets a new ledger, so a late settlement of an old one changes an object that is no longer used. A
    rewound log gets a new ledger too; messages below that point are not delivered again, so the new ledger takes over
    those that are open, and the old one passes on their settlements. Made by `OffsetTracker`.
    """

    __slots__ = (
        "_begun",
        "_committed",
        "_confirmed",
        "_generation",
        "_inherited",
        "_live",
        "_next",
        "_open",
        "_revision",
        "_rewound_to",
        "_sent",
        "_successor",
        "_tracker",
        "partition",
    )

    def __init__(self, tracker: OffsetTracker[Partition], partition: Partition) -> None:
        self.partition = partition
        self._tracker = tracker
        self._live = True
        self._open: set[int] = set()
        self._begun: deque[int] = deque()  # ascending; the first ones are dropped once they are not open
        self._next: int | None = None  # one after the last begun
        self._committed: int | None = None
        self._sent: int | None = None
        self._generation: int | None = None
        self._revision = 0  # raised by each settlement
        self._confirmed = 0  # the revision that the backend has stored
        self._inherited: Progress | None = None  # settled by an earlier owner, not read yet
        self._successor: Ledger[Partition] | None = None  # after a rewind, owns what lies below that point
        self._rewound_to = 0

    @property
    def live(self) -> bool:
        """Whether this is the partition's current ledger: the partition is assigned, and was not rewound since."""
        return self._live

    @property
    def open(self) -> int:
        """How many messages are begun and not done."""
        return len(self._open)

    @property
    def next(self) -> int | None:
        """The offset after the last begun one; before the first where reading starts, or None if that is not known."""
        return self._next

    @property
    def committed(self) -> int | None:
        """The offset that the backend has confirmed last; None before its first confirmation."""
        return self._committed

    def holds(self, offset: int) -> bool:
        """Whether a delivery that was begun here can still be settled: the partition is assigned, and the log was not
        rewound below it."""
        ledger: Ledger[Partition] | None = self
        while ledger is not None and not ledger._live:
            ledger = ledger._successor if offset < ledger._rewound_to else None
        return ledger is not None

    def done(self, offsets: Collection[int]) -> int:
        """Mark offsets as settled for good.

        Args:
            offsets: In any order. One that is done already is ignored.

        Returns:
            How many came too late: all, because the assignment has ended; those at or above the point to which the log
            was rewound since; or none.
        """
        with self._tracker._lock:
            if self._live:
                self._open.difference_update(offsets)
                self._revision += 1
                return 0
            return self._done_late(offsets)

    def safe(self) -> int | None:
        """The offset that may be committed: everything below it is done. None before the first message."""
        with self._tracker._lock:
            return self._safe()

    def span(self) -> int:
        """How many offsets lie between what is safe and what was delivered."""
        with self._tracker._lock:
            safe = self._safe()
            return 0 if safe is None or self._next is None else self._next - safe

    def inherit(self, progress: Progress | None) -> None:
        """Take over what an earlier owner has settled, before the first message comes.

        Args:
            progress: What was stored beside the offset at which reading starts; None is nothing.
        """
        with self._tracker._lock:
            self._inherited = progress if progress is not None and progress.settled else None

    @property
    def inherits(self) -> bool:
        """Whether messages that an earlier owner has settled are not read yet."""
        return self._inherited is not None

    def unsettled(self, offsets: Sequence[int], generation: int | None) -> Sequence[int]:
        """Which of the messages just read are not settled yet.

        A message before the earlier owner's start, or of a higher generation, shows that the log is another one; from
        then on nothing is passed over.

        Args:
            offsets: At least one, ascending, not begun yet.
            generation: The highest generation among them; None if the log does not tell.

        Returns:
            Positions in `offsets`, ascending.
        """
        with self._tracker._lock:
            known = self._inherited
            if known is None:
                return range(len(offsets))
            start = known.offset if self._next is None else self._next
            same_log = generation is not None and known.generation is not None and generation <= known.generation
            if not same_log or offsets[0] < start:
                self._inherited = None
                return range(len(offsets))
            self._generation = generation
            return known.unsettled(offsets)

    def read_up_to(self, offset: int) -> None:
        """Note that everything below an offset was read; what was not begun had been settled by an earlier owner."""
        with self._tracker._lock:
            self._read_up_to(offset)

    def progress(self) -> Progress | None:
        """What is settled, also above what is safe; None before the first message."""
        with self._tracker._lock:
            safe = self._safe()
            return None if safe is None else self._progress(safe)

    def _progress(self, safe: int) -> Progress:
        runs = self._settled_above(safe)
        generation = self._generation
        if (known := self._inherited) is not None:
            generation = known.generation  # a lower one than ours would have been dropped
            runs = joined(runs, known.settled)
        return Progress(safe, tuple(runs), generation, self._revision)

    def _settled_above(self, safe: int) -> list[Run]:
        """The runs that were read and are not open. A missing offset counts as settled, since it has no message."""
        following, still_open = self._next, self._open
        runs: list[Run] = []
        if following is None or following - safe == len(still_open):
            return runs
        end = safe
        for offset in sorted(still_open):
            if offset > end:
                runs.append((end, offset))
            end = offset + 1
        if end < following:
            runs.append((end, following))
        return runs

    def _read_up_to(self, offset: int) -> None:
        self._next = offset if self._next is None else max(self._next, offset)
        known = self._inherited
        if known is not None and known.settled[0][0] < self._next:
            left = known.above(self._next)
            self._inherited = left if left.settled else None

    def _ends_at(self, offset: int) -> None:
        """Drop what was inherited if the log ends before it: then it is another log."""
        known = self._inherited
        if known is not None and offset < known.settled[-1][1]:
            self._inherited = None

    def _safe(self) -> int | None:
        begun, still_open = self._begun, self._open
        if not still_open:
            begun.clear()
            return self._next
        while begun[0] not in still_open:
            begun.popleft()
        return begun[0]

    def _begin(self, offsets: Sequence[int], generation: int | None) -> None:
        self._begun.extend(offsets)
        self._open.update(offsets)
        self._generation = generation
        if self._inherited is None:
            self._next = offsets[-1] + 1
        else:
            self._read_up_to(offsets[-1] + 1)

    def _done_late(self, offsets: Collection[int]) -> int:
        ledger, ours = self, offsets
        while not ledger._live and ours:
            below, successor = ledger._rewound_to, ledger._successor
            if successor is None:
                ours = ()
            else:
                ours, ledger = [offset for offset in ours if offset < below], successor
        ledger._open.difference_update(ours)
        ledger._revision += 1
        late = len(offsets) - len(ours)
        self._tracker._late += late
        return late

    def _take_over(self, old: Ledger[Partition], below: int) -> None:
        self._open = {offset for offset in old._open if offset < below}
        self._begun.extend(sorted(self._open))
        old._successor, old._rewound_to = self, below


class OffsetTracker(Generic[Partition]):
    """The ledgers of all partitions that are assigned to one consumer.

    A partition is named by anything hashable, usually (topic, number).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ledgers: dict[Partition, Ledger[Partition]] = {}
        self._late = 0

    @property
    def late(self) -> int:
        """How many settlements came after their assignment had ended, and so changed nothing."""
        return self._late

    @property
    def open(self) -> int:
        """How many messages are begun and not done, in all partitions."""
        with self._lock:
            return sum(len(ledger._open) for ledger in self._ledgers.values())

    def ledgers(self) -> list[Ledger[Partition]]:
        """The live ledgers, one per assigned partition."""
        with self._lock:
            return list(self._ledgers.values())

    def ledger(self, partition: Partition) -> Ledger[Partition] | None:
        """The live ledger of a partition; None if it is not assigned."""
        return self._ledgers.get(partition)

    def assign(self, partition: Partition) -> Ledger[Partition]:
        """Open a new ledger; one that was open for this partition ends."""
        with self._lock:
            return self._assign(partition)

    def revoke(self, partition: Partition) -> None:
        """End the ledger of a partition that was taken away; nothing happens if it was not assigned."""
        with self._lock:
            ledger = self._ledgers.pop(partition, None)
            if ledger is not None:
                ledger._live = False

    def begin(self, partition: Partition, offsets: Sequence[int], generation: int | None = None) -> Ledger[Partition]:
        """Note messages as delivered and open, before they may be settled.

        Args:
            partition: Where they come from; a new ledger is opened if it has none.
            offsets: At least one, ascending. If they go back behind what was delivered before, the log was rewound
                (truncated, or its offset reset): then a new ledger begins. Of the old one's settlements, those of
                offsets that come again are too late; what is open before them still holds back the commit.
            generation: Their highest generation, for logs that have some; see `Progress`.

        Returns:
            The ledger to settle them in.
        """
        with self._lock:
            ledger = self._ledgers.get(partition)
            if ledger is None:
                ledger = self._assign(partition)
            elif ledger._next is not None and offsets[0] < ledger._next:
                rewound, ledger = ledger, self._assign(partition)
                ledger._take_over(rewound, offsets[0])
            ledger._begin(offsets, generation)
            return ledger

    def start(self, partition: Partition, offset: int) -> None:
        """Note where reading starts in a partition without a message so far.

        Without this call it is the offset of its first message. Nothing happens if messages have come already, or if
        the partition is not assigned.
        """
        with self._lock:
            ledger = self._ledgers.get(partition)
            if ledger is not None:
                ledger._ends_at(offset)
                if ledger._next is None:
                    ledger._next = offset

    def to_commit(self, partitions: Iterable[Partition] | None = None) -> dict[Partition, int]:
        """The safe offsets that are not confirmed yet, of these partitions or of all. After a rejected commit the next
        call returns the offset again."""
        with self._lock:
            found = dict(self._unconfirmed(partitions))
            for ledger, safe in found.items():
                ledger._sent = safe
            return {ledger.partition: safe for ledger, safe in found.items()}

    def progress(self, partitions: Iterable[Partition] | None = None) -> dict[Partition, Progress]:
        """Like `to_commit`, for a backend that stores a text beside the offset: with what is settled above it, also if
        only that has changed."""
        with self._lock:
            found = {ledger: ledger._progress(safe) for ledger, safe in self._unconfirmed(partitions, above=True)}
            for ledger, progress in found.items():
                ledger._sent = progress.offset
            return {ledger.partition: progress for ledger, progress in found.items()}

    def confirm(self, partition: Partition, offset: int, revision: int | None = None) -> None:
        """Note what the backend has stored last.

        Commits may be carried out in another order than they were sent, so a lower offset after a higher one means
        that the backend has gone back, and `to_commit` offers the higher one again. An offset that this ledger never
        sent is ignored.

        Args:
            partition: The partition.
            offset: The committed offset.
            revision: The revision of the progress that is stored beside it; None if it is not known.
        """
        with self._lock:
            ledger = self._ledgers.get(partition)
            if ledger is not None and ledger._sent is not None and offset <= ledger._sent:
                ledger._committed = offset
                if revision is not None:
                    ledger._confirmed = revision

    def _unconfirmed(
        self, partitions: Iterable[Partition] | None, *, above: bool = False
    ) -> Iterator[tuple[Ledger[Partition], int]]:
        ledgers = self._ledgers
        for partition in list(ledgers) if partitions is None else partitions:
            ledger = ledgers.get(partition)
            safe = None if ledger is None else ledger._safe()
            if ledger is None or safe is None:
                continue
            committed = ledger._committed
            # `dump` makes no text without a generation.
            changed = above and ledger._revision != ledger._confirmed and ledger._generation is not None
            if committed is None or safe > committed or changed:
                yield ledger, safe

    def _assign(self, partition: Partition) -> Ledger[Partition]:
        old = self._ledgers.get(partition)
        if old is not None:
            old._live = False
        ledger = self._ledgers[partition] = Ledger(self, partition)
        return ledger
