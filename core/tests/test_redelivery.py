"""Messages that wait in memory to be delivered again."""

from __future__ import annotations

from typing import Any

from penstock.message import QueueMessage
from penstock.offsets import Ledger, OffsetTracker
from penstock.redelivery import Redelivery

P = ("topic", 0)


class LogMessage(QueueMessage):
    """As a connector to a log has them."""

    requeued: bool

    def __init__(self, ledger: Ledger[Any], offset: int, attempts: int = 1) -> None:
        topic, partition = ledger.partition
        super().__init__(None, b"%d" % offset, attempts=attempts, position=f"{topic}/{partition}/{offset}")
        self.ledger = ledger
        self.offset = offset

    def redelivery(self) -> LogMessage:
        return LogMessage(self.ledger, self.offset, self.attempts + 1)


def messages(tracker: OffsetTracker[Any], count: int, partition: Any = P) -> list[LogMessage]:
    """Messages of a partition, as they are delivered."""
    ledger = tracker.begin(partition, range(count))
    return [LogMessage(ledger, offset) for offset in range(count)]


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_messages_come_when_they_are_due() -> None:
    """Not earlier; what has become due meanwhile comes in the order of its partition."""
    clock = Clock()
    redelivery = Redelivery[LogMessage](clock)
    first, second, third, fourth = messages(OffsetTracker(), 4)
    redelivery.requeue([first], 5)
    redelivery.requeue([third], 1)
    redelivery.requeue([second], 1)
    redelivery.requeue([fourth], 0)

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
    redelivery, tracker = Redelivery[LogMessage](), OffsetTracker[Any]()
    redelivery.requeue(messages(tracker, 2) + messages(tracker, 2, ("topic", 1)), 0)

    seen = []
    for _ in range(4):
        (message,) = redelivery.take(1)
        seen.append(message.position)
        redelivery.requeue([message], 0)

    assert sorted(set(seen)) == ["topic/0/0", "topic/1/0"]
    assert len(redelivery) == 4


def test_a_delivery_is_requeued_once() -> None:
    """Twice in one call, or by two calls, makes no two of it."""
    redelivery = Redelivery[LogMessage]()
    (message,) = messages(OffsetTracker(), 1)

    redelivery.requeue([message, message], 0)
    redelivery.requeue([message], 60)

    assert len(redelivery) == 1


def test_a_message_is_a_new_delivery_with_one_attempt_more() -> None:
    """Code that still holds the old object sees no change."""
    redelivery = Redelivery[LogMessage]()
    (message,) = messages(OffsetTracker(), 1)

    redelivery.requeue([message], 0)
    (again,) = redelivery.take(1)

    assert again is not message
    assert (message.attempts, again.attempts) == (1, 2)
    assert (again.message, again.offset, again.ledger) == (message.message, message.offset, message.ledger)


def test_messages_of_a_revoked_partition_are_forgotten() -> None:
    """They belong to the new owner, whether they were requeued before or after."""
    redelivery, tracker = Redelivery[LogMessage](), OffsetTracker[Any]()
    gone, kept = messages(tracker, 2), messages(tracker, 1, ("topic", 1))
    redelivery.requeue([gone[0], *kept], 0)
    tracker.revoke(P)
    redelivery.requeue([gone[1]], 0)

    assert [each.ledger.partition for each in redelivery.take(10)] == [("topic", 1)]


def test_a_log_that_was_rewound_brings_some_again_itself() -> None:
    """Those come from the broker; the others still wait here, and nowhere else."""
    redelivery, tracker = Redelivery[LogMessage](), OffsetTracker[Any]()
    found = messages(tracker, 4)
    redelivery.requeue(found[::2], 0)
    tracker.begin(P, [2, 3])
    redelivery.requeue(found[1::2], 0)

    assert len(redelivery) == 2
    assert [each.offset for each in redelivery.take(10)] == [0, 1]


def test_forgetting_returns_how_many() -> None:
    """A rebalance must know for how many settlements it need not wait; those of a former assignment do not count."""
    redelivery, tracker = Redelivery[LogMessage](), OffsetTracker[Any]()
    redelivery.requeue(messages(tracker, 4), 60)
    tracker.assign(P)
    redelivery.requeue(messages(tracker, 3) + messages(tracker, 2, ("topic", 1)), 60)
    redelivery.requeue(messages(tracker, 1, ("topic", 2)), 0)

    assert redelivery.forget([P, ("topic", 2)]) == 4
    assert len(redelivery) == 2


def test_messages_of_several_partitions_succeed_in_one_call() -> None:
    """Mixed, in any order."""
    tracker = OffsetTracker[Any]()
    found = messages(tracker, 3) + messages(tracker, 2, ("topic", 1))

    assert Redelivery[LogMessage]().succeed(found[::-1]) == 0

    assert tracker.to_commit() == {("topic", 0): 3, ("topic", 1): 2}


def test_an_empty_call_settles_nothing() -> None:
    """Before and after the first requeue."""
    redelivery, tracker = Redelivery[LogMessage](), OffsetTracker[Any]()
    assert redelivery.succeed([]) == 0
    redelivery.requeue(messages(tracker, 1))
    assert redelivery.succeed([]) == 0


def test_what_succeeds_too_late_is_counted() -> None:
    """Of revoked partitions, and deliveries that were requeued; one that has succeeded already is neither."""
    redelivery, tracker = Redelivery[LogMessage](), OffsetTracker[Any]()
    ours, gone = messages(tracker, 3), messages(tracker, 2, ("topic", 1))
    tracker.revoke(("topic", 1))
    redelivery.requeue(ours[1:2])
    redelivery.succeed(ours[:1])

    assert redelivery.succeed([*ours, *gone]) == 3

    assert tracker.to_commit() == {("topic", 0): 1}


def test_a_message_that_succeeded_cannot_be_requeued() -> None:
    """It is counted as left alone."""
    redelivery, tracker = Redelivery[LogMessage](), OffsetTracker[Any]()
    (message,) = messages(tracker, 1)
    redelivery.succeed([message])

    assert redelivery.requeue([message]) == 1
    assert len(redelivery) == 0
