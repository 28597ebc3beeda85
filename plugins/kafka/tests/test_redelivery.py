"""Messages that wait in memory to be delivered again."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message

from penstock.offsets import OffsetTracker
from penstock_kafka.message import KafkaMessage
from penstock_kafka.redelivery import Redelivery

P = ("topic", 0)


def messages(tracker: OffsetTracker[Any], count: int, partition: Any = P) -> list[KafkaMessage]:
    """Messages of a partition, as they are delivered."""
    ledger = tracker.begin(partition, range(count))
    return [KafkaMessage(Message(value=b"%d" % offset), b"%d" % offset, ledger, offset) for offset in range(count)]


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_messages_come_when_they_are_due() -> None:
    """Not earlier; what has become due meanwhile comes in the order of its partition."""
    clock = Clock()
    redelivery = Redelivery(clock)
    first, second, third, fourth = messages(OffsetTracker(), 4)
    redelivery.give_back([first], 5)
    redelivery.give_back([third], 1)
    redelivery.give_back([second], 1)
    redelivery.give_back([fourth], 0)

    assert [each.offset for each in redelivery.take(10)] == [3]
    assert (redelivery.wait(), redelivery.due()) == (1.0, 0)
    clock.now += 1
    assert (redelivery.wait(), redelivery.due()) == (0.0, 2)
    assert [each.offset for each in redelivery.take(1)] == [1]
    assert [each.offset for each in redelivery.take(10)] == [2]
    assert redelivery.wait() == 4.0
    clock.now += 10
    assert redelivery.wait() == 0.0
    assert [each.offset for each in redelivery.take(10)] == [0]
    assert (redelivery.wait(), len(redelivery)) == (None, 0)


def test_a_partition_that_keeps_failing_holds_up_no_other() -> None:
    """Taken one at a time, the partitions take turns, whatever their offsets."""
    redelivery, tracker = Redelivery(), OffsetTracker[Any]()
    redelivery.give_back(messages(tracker, 2) + messages(tracker, 2, ("topic", 1)), 0)

    seen = []
    for _ in range(4):
        (message,) = redelivery.take(1)
        seen.append(message.position)
        redelivery.give_back([message], 0)

    assert sorted(set(seen)) == ["topic/0/0", "topic/1/0"]
    assert len(redelivery) == 4


def test_a_delivery_is_given_back_once() -> None:
    """Twice in one call, or by two calls, makes no two of it."""
    redelivery = Redelivery()
    (message,) = messages(OffsetTracker(), 1)

    redelivery.give_back([message, message], 0)
    redelivery.give_back([message], 60)

    assert len(redelivery) == 1


def test_a_message_is_a_new_delivery_with_one_attempt_more() -> None:
    """Whoever still holds the old object sees no change."""
    redelivery = Redelivery()
    (message,) = messages(OffsetTracker(), 1)

    redelivery.give_back([message], 0)
    (again,) = redelivery.take(1)

    assert again is not message
    assert (message.attempts, again.attempts) == (1, 2)
    assert (again.message, again.offset, again.ledger) == (message.message, message.offset, message.ledger)


def test_messages_of_a_partition_that_went_are_forgotten() -> None:
    """They are the new owner's, whether they were given back before or after."""
    redelivery, tracker = Redelivery(), OffsetTracker[Any]()
    gone, kept = messages(tracker, 2), messages(tracker, 1, ("topic", 1))
    redelivery.give_back([gone[0], *kept], 0)
    tracker.revoke(P)
    redelivery.give_back([gone[1]], 0)

    assert [each.ledger.partition for each in redelivery.take(10)] == [("topic", 1)]


def test_a_log_that_was_rewound_brings_some_again_itself() -> None:
    """Those come from the broker; the others still wait here, and nowhere else."""
    redelivery, tracker = Redelivery(), OffsetTracker[Any]()
    found = messages(tracker, 4)
    redelivery.give_back(found[::2], 0)
    tracker.begin(P, [2, 3])
    redelivery.give_back(found[1::2], 0)

    assert len(redelivery) == 2
    assert [each.offset for each in redelivery.take(10)] == [0, 1]


def test_forgetting_says_how_many() -> None:
    """A rebalance must know for how many settlements it need not wait: those of a former assignment are none."""
    redelivery, tracker = Redelivery(), OffsetTracker[Any]()
    redelivery.give_back(messages(tracker, 4), 60)
    tracker.assign(P)
    redelivery.give_back(messages(tracker, 3) + messages(tracker, 2, ("topic", 1)), 60)
    redelivery.give_back(messages(tracker, 1, ("topic", 2)), 0)

    assert redelivery.forget([P, ("topic", 2)]) == 4
    assert len(redelivery) == 2
