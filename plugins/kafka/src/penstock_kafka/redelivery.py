"""Messages that were given back: Kafka cannot requeue, so they are delivered again from memory.

Their offsets stay open, so nothing after them is committed, and a crash delivers them again from the broker.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Collection, Sequence
from itertools import count

from penstock_kafka.message import KafkaMessage, Partition


class Redelivery:
    """A queue by due time. `give_back` is called by the settling thread, the rest by the polling one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._order = count()  # keeps messages of one due time in the order they were given back
        self._waiting: list[tuple[float, int, KafkaMessage]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def give_back(self, messages: Sequence[KafkaMessage], delay: float) -> None:
        """Hold messages for `delay` seconds; those of a partition that is no longer ours are its new owner's."""
        due = self._clock() + delay
        again = [
            KafkaMessage(each.message_context, each.message, each.ledger, each.offset, each.attempts + 1)
            for each in messages
            if each.ledger.live
        ]
        with self._lock:
            for message in again:
                heapq.heappush(self._waiting, (due, next(self._order), message))

    def take(self, most: int) -> list[KafkaMessage]:
        """Messages that are due, at most `most`."""
        if not self._waiting:
            return []
        now = self._clock()
        taken: list[KafkaMessage] = []
        with self._lock:
            while self._waiting and len(taken) < most and self._waiting[0][0] <= now:
                message = heapq.heappop(self._waiting)[2]
                if message.ledger.live:
                    taken.append(message)
        return taken

    def wait(self) -> float | None:
        """Seconds until the next one is due; None if none waits."""
        with self._lock:
            return max(0.0, self._waiting[0][0] - self._clock()) if self._waiting else None

    def forget(self, partitions: Collection[Partition]) -> int:
        """Drop the messages of these partitions; returns how many."""
        with self._lock:
            kept = [each for each in self._waiting if each[2].ledger.partition not in partitions]
            dropped = len(self._waiting) - len(kept)
            heapq.heapify(kept)
            self._waiting = kept
            return dropped
