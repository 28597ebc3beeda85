"""The ends of our partitions, for the lag. The polling thread keeps them, so that other threads need not wait.

While a thread polls, the client blocks others: a request from another thread might wait for ever.
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

REFRESH_INTERVAL = 0.25  # seconds; reading the ends from the last fetches costs 1 µs for each partition
ASK_INTERVAL = 5.0  # seconds between two requests about a partition that is not fetched
ASK_TIMEOUT = 1.0  # seconds of such a request, during which nothing is consumed
WANTED_FOR = 30.0  # seconds after a call of `lag`, during which the brokers are asked


class Watermarks:
    """The offset after the last message of each partition, as far as it is known.

    Args:
        client: The consumer.
        clock: Seconds.
    """

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._watermarks: dict[Partition, int] = {}
        # Up to where a partition was read to its end; after transaction markers this is past the last message.
        self._read: dict[Partition, int] = {}
        self._asked: dict[Partition, float] = {}
        self._next_refresh = -math.inf
        self._next_request = -math.inf
        self._wanted = -math.inf

    # -- for any thread

    def lag(self, ledgers: Iterable[Ledger[Partition]]) -> int | None:
        """Messages that were not delivered yet; None while that is unknown for any partition."""
        self._wanted = self._clock()
        total = 0
        for ledger in ledgers:
            # Read in this order, so that what was delivered is never ahead of the known end.
            following, read = ledger.next, self._read.get(ledger.partition)
            end = self._watermarks.get(ledger.partition)
            if end is None or (following is None and read is None):
                return None
            total += max(0, end - max(following or 0, read or 0))
        return total

    # -- for the polling thread

    def unread(self, ledgers: Iterable[Ledger[Partition]]) -> dict[Partition, int | None]:
        """The partitions with more messages, and the offset to be read next in each; None if reading has not begun."""
        return {
            ledger.partition: ledger.next
            for ledger in ledgers
            if self._watermarks.get(ledger.partition, 0) > max(ledger.next or 0, self._read.get(ledger.partition, 0))
        }

    def reached(self, key: Partition, offset: int) -> None:
        """Messages below this offset are about to be delivered; update the end if none is known above it."""
        if self._watermarks.get(key, 0) <= offset:
            self._refresh(key, offset)

    def read_to_end(self, key: Partition, offset: int) -> None:
        """The client has found no message from this offset on."""
        self._read[key] = self._watermarks[key] = offset

    def forget(self, key: Partition) -> None:
        """Forget a partition that was revoked, or is read anew."""
        for known in (self._watermarks, self._read, self._asked):
            known.pop(key, None)

    def refresh(self, fetched: Iterable[Partition]) -> None:
        """Read the ends from the last fetches."""
        for key in fetched:
            self._refresh(key, 0)

    def maintain(self, fetched: Callable[[], Iterable[Partition]], others: Callable[[], Collection[Partition]]) -> None:
        """If it is time, read the ends from the last fetches, and ask the brokers about one of the other partitions."""
        now = self._clock()
        if now < self._next_refresh:
            return
        self._next_refresh = now + REFRESH_INTERVAL
        self.refresh(fetched())
        if now < self._wanted + WANTED_FOR and now >= self._next_request and (keys := others()):
            self._ask_about(min(keys, key=self._last_asked), now)

    def _refresh(self, key: Partition, least: int) -> None:
        try:
            found = self._client.get_watermark_offsets(TopicPartition(*key), cached=True)
        except KafkaException:
            return  # just lost: its end is unknown, and so is the lag
        # Never lower: the last fetch may be older than the last request. A truncation is noticed by reading.
        if found is not None and found[1] >= 0:
            self._watermarks[key] = max(found[1], least, self._watermarks.get(key, 0))

    def _ask_about(self, key: Partition, now: float) -> None:
        if now - self._last_asked(key) < ASK_INTERVAL:
            return
        self._asked[key] = now
        try:
            found = self._client.get_watermark_offsets(TopicPartition(*key), timeout=ASK_TIMEOUT)
        except KafkaException:
            found = None
        if found is None:
            self._next_request = now + ASK_INTERVAL  # away: each request would delay the poll
        else:
            self._watermarks[key] = found[1]

    def _last_asked(self, key: Partition) -> float:
        return self._asked.get(key, -math.inf)
