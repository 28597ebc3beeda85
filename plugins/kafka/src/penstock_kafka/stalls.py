"""Partitions that bring nothing although there is more in them: of some damages the client says no word."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping

from penstock_kafka.message import Partition

log = logging.getLogger("penstock.kafka")

LOOK_EVERY = 1.0  # seconds
COMPLAIN_EVERY = 30.0  # seconds without a message from a partition that has some, before that is said again

Stand = tuple[int | None, float]
"""At which offset a partition stands, and since when, or when that was said."""


class Stalls:
    """On the polling thread, which knows when nothing is at hand.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = -math.inf
        self._standing: dict[Partition, Stand] = {}

    def look(self, unread: Callable[[], Mapping[Partition, int | None]]) -> None:
        """Nothing is at hand.

        Args:
            unread: Where reading stands, None if it has not begun, in the partitions that are fetched and go on behind
                that.
        """
        now = self._clock()
        if now < self._looked + LOOK_EVERY:
            return
        # After a time in which much was at hand nothing is known of a partition that others have kept waiting.
        before = {} if now > self._looked + 5 * LOOK_EVERY else self._standing
        self._looked = now
        self._standing = {key: (offset, self._since(key, offset, before, now)) for key, offset in unread().items()}

    def _since(self, key: Partition, offset: int | None, before: Mapping[Partition, Stand], now: float) -> float:
        stood, since = before.get(key, (offset, now))
        if stood != offset:
            return now
        if now - since < COMPLAIN_EVERY:
            return since
        log.warning("%s/%d: nothing has come for %.0f s from %s on, although there is more: a transaction is "
                    "open there, or the log is damaged; kafka-dump-log shows which", *key, now - since,
                    "the group's offset" if offset is None else f"offset {offset}")  # fmt: skip
        return now
