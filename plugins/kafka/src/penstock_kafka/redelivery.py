"""Messages that were given back: Kafka cannot requeue, so they are delivered again from memory.

Their offsets stay open, so nothing after them is committed, and a crash delivers them again from the broker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count

from penstock.offsets import Ledger
from penstock_kafka.message import KafkaMessage, Partition


class Redelivery:
    """What is held back for a time, and what is due: by offset within a partition, as it came the first time.

    `give_back` is called by the settling thread, the rest by the polling one; `len` by both.

    Attributes:
        used: Whether anything was ever given back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.used = False
        self._clock = clock
        self._lock = threading.Lock()
        self._order = count()  # decides between messages that are due at the same time
        self._held: list[tuple[float, int, KafkaMessage]] = []  # a heap by due time
        self._due: dict[Ledger[Partition], list[tuple[int, KafkaMessage]]] = {}  # heaps by offset

    def __len__(self) -> int:
        with self._lock:
            return sum(message.ours for message in self._waiting())

    def give_back(self, messages: Sequence[KafkaMessage], delay: float) -> int:
        """Hold messages for `delay` seconds; those of a partition that is no longer ours are its new owner's.

        One that was settled already, either way, is left alone.

        Returns:
            How many were left alone.
        """
        self.used = True
        again: list[KafkaMessage] = []
        for message in messages:
            if not hasattr(message, "given_back"):
                message.given_back = True
                if message.ours:
                    again.append(message.redelivery())
        until = self._clock() + delay
        with self._lock:
            for message in again:
                if delay > 0:
                    heappush(self._held, (until, next(self._order), message))
                else:
                    self._make_due(message)
        return len(messages) - len(again)

    def due(self) -> int:
        """How many could be taken now."""
        if not self._held and not self._due:
            return 0
        with self._lock:
            now = self._clock()
            while self._held and self._held[0][0] <= now:
                self._make_due(heappop(self._held)[2])
            return sum(map(len, self._due.values()))

    def take(self, most: int) -> list[KafkaMessage]:
        """Messages that are due, at most `most`."""
        taken: list[KafkaMessage] = []
        if not self.due():
            return taken
        with self._lock:
            due = self._due
            while due and len(taken) < most:
                ledger = next(iter(due))
                messages = due.pop(ledger)
                while messages and len(taken) < most:
                    message = heappop(messages)[1]
                    if message.ours:
                        taken.append(message)
                if messages:
                    due[ledger] = messages  # behind the other partitions: one that keeps failing holds up none
        return taken

    def wait(self) -> float | None:
        """Seconds until the next one is due; None if none waits."""
        with self._lock:
            if self._due:
                return 0.0
            return max(0.0, self._held[0][0] - self._clock()) if self._held else None

    def forget(self, partitions: Collection[Partition]) -> int:
        """Drop the messages of these partitions; returns how many of them were still ours."""
        with self._lock:
            gone = [each for each in self._waiting() if each.ledger.partition in partitions]
            self._held = [each for each in self._held if each[2].ledger.partition not in partitions]
            self._held.sort()  # which makes a heap of it again
            self._due = {ledger: each for ledger, each in self._due.items() if ledger.partition not in partitions}
            return sum(message.ours for message in gone)

    def _make_due(self, message: KafkaMessage) -> None:
        heappush(self._due.setdefault(message.ledger, []), (message.offset, message))

    def _waiting(self) -> Iterator[KafkaMessage]:
        yield from (message for *_, message in self._held)
        yield from (message for messages in self._due.values() for _, message in messages)
