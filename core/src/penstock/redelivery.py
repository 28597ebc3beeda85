"""For connectors to logs, which cannot requeue: requeued messages are kept in memory and delivered again from there.

Their offsets stay open in `penstock.offsets`, so nothing after them is committed, and after a crash the backend
delivers them again.

self._redelivery = Redelivery[AcmeMessage]()

consume:     messages = self._redelivery.take(max_messages)      # then new ones
on_success:  return self._redelivery.succeed(messages)
on_fail:     return self._redelivery.requeue(messages, delay)
revoked:     self._redelivery.forget(partitions)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, Generic, Protocol, Self, TypeVar

from penstock.offsets import Ledger


class LogMessage(Protocol):
    """What `Redelivery` needs of a connector's message.

    Attributes:
        ledger: The assignment that it came with.
        offset: Its offset in its partition.
        requeued: Not set while the message is under way; then True if it was requeued, False if it succeeded.
    """

    ledger: Ledger[Any]
    offset: int
    requeued: bool

    def redelivery(self) -> Self:
        """The next delivery: what the backend sent, with one attempt more, whatever was made of this object."""


M = TypeVar("M", bound=LogMessage)


class Redelivery(Generic[M]):
    """What waits to be delivered again, by offset within a partition.

    `requeue` and `succeed` are called by the thread that settles, the rest by the one that consumes; `len` by both.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._used = False  # whether anything was ever requeued: most consumers never do
        self._clock = clock
        self._lock = threading.Lock()
        self._order = count()  # decides between messages that are due at the same time
        self._delayed: list[tuple[float, int, M]] = []  # a heap by due time
        self._due: dict[Ledger[Any], list[tuple[int, M]]] = {}  # heaps by offset

    def __len__(self) -> int:
        with self._lock:
            return sum(_is_ours(message) for message in self._waiting())

    def succeed(self, messages: Sequence[M]) -> int:
        """Mark the offsets of messages as done; returns how many came too late.

        One that was requeued before is late: its offset belongs to its next delivery.
        """
        late = 0
        if self._used:
            ours = [message for message in messages if not getattr(message, "requeued", False)]
            late = len(messages) - len(ours)
            messages = ours
        by_ledger: dict[Ledger[Any], list[int]] = {}
        latest, offsets = None, []  # most often many in a row have the same ledger: that is looked up once
        for message in messages:
            # The ledger knows offsets, not deliveries, so the flag is kept on the message.
            message.requeued = False
            if message.ledger is not latest:
                latest = message.ledger
                offsets = by_ledger.setdefault(latest, [])
            offsets.append(message.offset)
        return late + sum(ledger.done(offsets) for ledger, offsets in by_ledger.items())

    def requeue(self, messages: Sequence[M], delay: float = 0.0) -> int:
        """Deliver messages again after `delay` seconds; returns how many were left alone.

        Left alone is what was settled already, and what belongs to another consumer since its partition was revoked.
        """
        self._used = True
        again: list[M] = []
        for message in messages:
            if not hasattr(message, "requeued"):
                message.requeued = True
                if _is_ours(message):
                    again.append(message.redelivery())
        due = self._clock() + delay
        with self._lock:
            for message in again:
                if delay > 0:
                    heappush(self._delayed, (due, next(self._order), message))
                else:
                    self._make_due(message)
        return len(messages) - len(again)

    def due(self) -> int:
        """How many could be taken now."""
        if not self._delayed and not self._due:
            return 0
        with self._lock:
            now = self._clock()
            while self._delayed and self._delayed[0][0] <= now:
                self._make_due(heappop(self._delayed)[2])
            return sum(map(len, self._due.values()))

    def take(self, max_messages: int) -> list[M]:
        """Messages that are due, in the order of their partitions."""
        taken: list[M] = []
        if not self.due():
            return taken
        with self._lock:
            while self._due and len(taken) < max_messages:
                ledger = next(iter(self._due))
                messages = self._due.pop(ledger)
                while messages and len(taken) < max_messages:
                    message = heappop(messages)[1]
                    if _is_ours(message):
                        taken.append(message)
                if messages:
                    self._due[ledger] = messages  # behind the other partitions, so that one that fails blocks none
        return taken

    def wait(self) -> float | None:
        """Seconds until the next one is due; None if none waits."""
        with self._lock:
            if self._due:
                return 0.0
            return max(0.0, self._delayed[0][0] - self._clock()) if self._delayed else None

    def forget(self, partitions: Collection[Hashable]) -> int:
        """Drop the messages of these partitions; returns how many of them were still ours."""
        with self._lock:
            gone = [each for each in self._waiting() if each.ledger.partition in partitions]
            self._delayed = [each for each in self._delayed if each[2].ledger.partition not in partitions]
            self._delayed.sort()  # which makes a heap of it again
            self._due = {ledger: each for ledger, each in self._due.items() if ledger.partition not in partitions}
            return sum(_is_ours(message) for message in gone)

    def _make_due(self, message: M) -> None:
        heappush(self._due.setdefault(message.ledger, []), (message.offset, message))

    def _waiting(self) -> Iterator[M]:
        yield from (message for *_, message in self._delayed)
        yield from (message for messages in self._due.values() for _, message in messages)


def _is_ours(message: LogMessage) -> bool:
    return message.ledger.holds(message.offset)
