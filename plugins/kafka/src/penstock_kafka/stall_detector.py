"""Finds partitions that deliver nothing although they have messages: the client does not report all corruption."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping

from penstock_kafka.message import Partition

log = logging.getLogger("penstock.kafka")

CHECK_INTERVAL = 1.0  # seconds
REPORT_INTERVAL = 30.0  # seconds without a message from a partition that has some, before it is reported (again)

Stall = tuple[int | None, float]
"""The next offset of a partition, and since when, or when it was last reported."""


class StallDetector:
    """Used on the polling thread, which knows when there is no message.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = -math.inf
        self._standing: dict[Partition, Stall] = {}

    def refresh(self, unread: Callable[[], Mapping[Partition, int | None]]) -> None:
        """Check for stalls. Called when there is no message.

        Args:
            unread: The fetched partitions that have more messages, and the next offset of each; None if reading has not
                begun.
        """
        now = self._clock()
        if now < self._looked + CHECK_INTERVAL:
            return
        # After a busy time, a partition may have waited only behind others.
        before = {} if now > self._looked + 5 * CHECK_INTERVAL else self._standing
        self._looked = now
        self._standing = {key: (offset, self._since(key, offset, before, now)) for key, offset in unread().items()}

    def _since(self, key: Partition, offset: int | None, before: Mapping[Partition, Stall], now: float) -> float:
        stood, since = before.get(key, (offset, now))
        if stood != offset:
            return now
        if now - since < REPORT_INTERVAL:
            return since
        log.warning("%s/%d: no message came for %.0f s from %s on, although there are more: a transaction is "
                    "open there, or the log is corrupt; kafka-dump-log shows which", *key, now - since,
                    "the group's offset" if offset is None else f"offset {offset}",
                    extra={"position": f"{key[0]}/{key[1]}/{'' if offset is None else offset}"})  # fmt: skip
        return now
