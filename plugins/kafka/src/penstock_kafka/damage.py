"""Places in the logs that cannot be read, as the client tells of them: it tries again without end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from penstock.errors import ConnectorError
from penstock_kafka.errors import describe
from penstock_kafka.message import Partition

log = logging.getLogger("penstock.kafka")

ABOUT_DAMAGE = (KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError.INVALID_MSG)
PATIENCE = 30.0  # seconds; what was damaged on its way, or on one replica, is read by then
SAME_WITHIN = 10.0  # seconds between two errors that are one trouble; the client tries twice a second


class Damage:
    """Tells what goes away, damaged on its way, from what does not, damaged in the log.

    Args:
        where: For messages.
        clock: Seconds.
    """

    def __init__(self, where: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._where = where
        self._clock = clock
        self._places: dict[Partition, tuple[int, float, float]] = {}  # offset, when first and when last heard of

    def heard(self, error: KafkaError, key: Partition, offset: int) -> ConnectorError | None:
        """Hear of a batch that could not be read; the error to stop with, once that has lasted."""
        now = self._clock()
        place, first, last = self._places.get(key, (offset, now, now))
        fresh = key not in self._places or place != offset or now - last > SAME_WITHIN
        self._places[key] = (offset, now if fresh else first, now)
        text = f"{self._where}: {key[0]}/{key[1]}: nothing can be read from offset {offset} on: {describe(error)}"
        if fresh:
            log.warning("%s; it is tried again for %.0f s", text, PATIENCE)
        elif now - first >= PATIENCE:
            return ConnectorError(
                f"{text}; the log is damaged there. Restore it, or give up the messages of that batch: stop the group, "
                "set its offset of this partition behind them (kafka-consumer-groups --reset-offsets --to-offset), "
                "and start again"
            )
        return None
