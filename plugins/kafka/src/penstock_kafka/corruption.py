"""Offsets that cannot be read because the log is corrupt. The client reports them, and tries again without end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from penstock.errors import ConnectorError
from penstock_kafka.errors import describe
from penstock_kafka.message import Partition

log = logging.getLogger("penstock.kafka")

CORRUPTION_CODES = (KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError.INVALID_MSG)
RETRY_FOR = 30.0  # seconds; data that was corrupt in transit, or on one replica, is read by then
SAME_WITHIN = 10.0  # seconds between two reports of the same problem; the client tries twice a second


class CorruptionTracker:
    """Distinguishes data that is corrupt in transit, which passes, from a corrupt log, which does not.

    Args:
        where: For messages.
        clock: Seconds.
    """

    def __init__(self, where: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._where = where
        self._clock = clock
        self._places: dict[Partition, tuple[int, float, float]] = {}  # offset, when first and when last reported

    def seen(self, error: KafkaError, key: Partition, offset: int) -> ConnectorError | None:
        """Register a batch that could not be read; returns the error to stop with, once it has lasted too long."""
        now = self._clock()
        place, first, last = self._places.get(key, (offset, now, now))
        fresh = key not in self._places or place != offset or now - last > SAME_WITHIN
        self._places[key] = (offset, now if fresh else first, now)
        text = f"{self._where}: {key[0]}/{key[1]}: nothing can be read from offset {offset} on: {describe(error)}"
        if fresh:
            log.warning("%s; it is tried again for %.0f s", text, RETRY_FOR)
        elif now - first >= RETRY_FOR:
            return ConnectorError(
                f"{text}; the log is corrupt there. Restore it, or give up the messages of that batch: stop the group, "
                "set its offset of this partition behind them (kafka-consumer-groups --reset-offsets --to-offset), "
                "and start again"
            )
        return None
