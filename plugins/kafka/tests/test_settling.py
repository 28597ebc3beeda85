"""A batch of messages is settled in the ledgers that they came with."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message

from penstock.offsets import OffsetTracker
from penstock_kafka.message import KafkaMessage
from penstock_kafka.settling import succeed


def delivered(tracker: OffsetTracker[Any], partition: int, count: int) -> list[KafkaMessage]:
    """Messages of a partition that are under way."""
    ledger = tracker.begin(("topic", partition), range(count))
    return [KafkaMessage(Message(), b"", ledger, offset) for offset in range(count)]


def test_messages_of_several_partitions_are_done_in_one_call() -> None:
    """Mixed, in any order."""
    tracker = OffsetTracker[Any]()
    found = delivered(tracker, 0, 3) + delivered(tracker, 1, 2)

    assert succeed(found[::-1], False) == 0

    assert tracker.to_commit() == {("topic", 0): 3, ("topic", 1): 2}


def test_nothing_is_settled_without_a_word() -> None:
    """An empty call is none."""
    assert (succeed([], False), succeed([], True)) == (0, 0)


def test_what_comes_too_late_is_counted() -> None:
    """Of partitions that went, and of deliveries that were given back; what had succeeded already is neither."""
    tracker = OffsetTracker[Any]()
    ours, gone = delivered(tracker, 0, 3), delivered(tracker, 1, 2)
    tracker.revoke(("topic", 1))
    ours[1].given_back = True
    succeed(ours[:1], True)

    assert succeed([*ours, *gone], True) == 3

    assert tracker.to_commit() == {("topic", 0): 1}
