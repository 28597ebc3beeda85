"""Where a group begins that has committed nothing: the option `start`."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client
    from confluent_kafka import TopicPartition

log = logging.getLogger("penstock.kafka")

ENDS = ("earliest", "latest")
TIMEOUT = 5.0  # seconds of a question to the brokers while a rebalance waits for the answer

_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_start(value: Any) -> Any:
    """`earliest` or `latest` as it is; a time, or how long ago it was, as a time.

    Raises:
        ValueError: it is none of these.
    """
    if value is None or (isinstance(value, str) and value in ENDS):
        return value
    if isinstance(value, str) and (ago := _AGO.fullmatch(value.strip())):
        try:
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        except OverflowError:
            pass
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        time = None
    if isinstance(time, datetime) and time.tzinfo is not None:
        return time
    raise ValueError("write earliest, latest, a time with its zone (2026-11-27T02:00:00Z), or 90s, 30m, 2h, 7d ago")


def begin_at(client: Client, partitions: list[TopicPartition], time: datetime, where: str) -> list[TopicPartition]:
    """Partitions to be assigned; those in which the group has committed nothing, with the first offset of that time.

    Called while the client assigns partitions. Where the brokers do not answer, a partition is read from its earliest
    message: that is more than was asked for, and loses nothing.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka import TopicPartition as Place

    try:
        stored = client.committed(partitions, timeout=TIMEOUT)
        new = [each for each in stored if each.error is None and each.offset < 0]
        wanted = [Place(each.topic, each.partition, int(time.timestamp() * 1000)) for each in new]
        found = client.offsets_for_times(wanted, timeout=TIMEOUT) if wanted else []
        failures = [each.error for each in (*stored, *found) if each.error is not None]
    except KafkaException as error:
        found, failures = [], [error.args[0]]
    if failures:
        log.warning("%s: where 'start' lies is not known, as the brokers do not say (%s): partitions in which the "
                    "group has committed nothing are read from their beginning", where, failures[0].str())  # fmt: skip
    places = {(each.topic, each.partition): each for each in found if each.error is None}
    return [places.get((each.topic, each.partition), each) for each in partitions]
