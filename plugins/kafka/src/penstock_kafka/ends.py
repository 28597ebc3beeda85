"""Where our partitions end, for the lag. The polling thread finds it out, so that nobody who asks has to wait.

While a thread polls, the client lets hardly anybody else in: a question from another thread may wait for ever.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition

from penstock.offsets import Ledger
from penstock_kafka.message import Partition

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client

LOOK_EVERY = 0.25  # seconds between two looks at what the fetches have told; each costs 1 µs a partition
ASK_EVERY = 5.0  # seconds after which the brokers are asked again about a partition that is not fetched
ASK_TIMEOUT = 1.0  # seconds of such a question, in which nothing is consumed
WANTED_FOR = 30.0  # seconds for which the brokers are asked after somebody has wanted to know the lag


class Ends:
    """Of each partition the offset after its last message, as far as it is known.

    Args:
        client: The consumer.
        clock: Seconds.
    """

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._ends: dict[Partition, int] = {}
        # Where a partition was read to its end; behind transaction markers that is past the last message.
        self._read: dict[Partition, int] = {}
        self._asked: dict[Partition, float] = {}
        self._next_look = -math.inf
        self._next_question = -math.inf
        self._wanted = -math.inf

    # -- for everybody

    def lag(self, ledgers: Iterable[Ledger[Partition]]) -> int | None:
        """Messages that were not delivered yet; None as long as that is not known of every partition."""
        self._wanted = self._clock()
        total = 0
        for ledger in ledgers:
            # In this order: what was delivered is never ahead of the end that is known.
            following, read = ledger.next, self._read.get(ledger.partition)
            end = self._ends.get(ledger.partition)
            if end is None or (following is None and read is None):
                return None
            total += max(0, end - max(following or 0, read or 0))
        return total

    # -- for the polling thread

    def unread(self, ledgers: Iterable[Ledger[Partition]]) -> dict[Partition, int | None]:
        """Where reading stands, None if it has not begun, in those partitions that go on behind that."""
        return {
            ledger.partition: ledger.next
            for ledger in ledgers
            if self._ends.get(ledger.partition, 0) > max(ledger.next or 0, self._read.get(ledger.partition, 0))
        }

    def reached(self, key: Partition, offset: int) -> None:
        """Messages up to this offset, excluded, are about to be delivered: are there more behind them?"""
        if self._ends.get(key, 0) <= offset:
            self._look(key, offset)

    def read_to_end(self, key: Partition, offset: int) -> None:
        """The client has found nothing behind this offset."""
        self._read[key] = self._ends[key] = offset

    def forget(self, key: Partition) -> None:
        """The partition is somebody else's, or begins anew."""
        for known in (self._ends, self._read, self._asked):
            known.pop(key, None)

    def look(self, fetched: Iterable[Partition]) -> None:
        """See what the last fetches have told."""
        for key in fetched:
            self._look(key, 0)

    def tend(self, fetched: Callable[[], Iterable[Partition]], others: Callable[[], Collection[Partition]]) -> None:
        """See now and then what the fetches have told, and ask about one of those that are not fetched."""
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY
        self.look(fetched())
        if now < self._wanted + WANTED_FOR and now >= self._next_question and (keys := others()):
            self._ask_about(min(keys, key=self._last_asked), now)

    def _look(self, key: Partition, least: int) -> None:
        try:
            found = self._client.get_watermark_offsets(TopicPartition(*key), cached=True)
        except KafkaException:
            return  # just lost: nothing is known, which is what the lag then says
        # Never back: the last fetch may be older than the last question. What was truncated is noticed by reading.
        if found is not None and found[1] >= 0:
            self._ends[key] = max(found[1], least, self._ends.get(key, 0))

    def _ask_about(self, key: Partition, now: float) -> None:
        if now - self._last_asked(key) < ASK_EVERY:
            return
        self._asked[key] = now
        try:
            found = self._client.get_watermark_offsets(TopicPartition(*key), timeout=ASK_TIMEOUT)
        except KafkaException:
            found = None
        if found is None:
            self._next_question = now + ASK_EVERY  # away: each question would hold up the poll
        else:
            self._ends[key] = found[1]

    def _last_asked(self, key: Partition) -> float:
        return self._asked.get(key, -math.inf)
