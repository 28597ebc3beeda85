"""What is given back: when, in which order and as what it comes again, and whose it is to settle."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from penstock_kafka import consumer as consumer_module

Take = Callable[..., list[Any]]
Until = Callable[..., None]


def test_a_message_given_back_comes_again_after_its_delay(bench: Any, take: Take, until: Until) -> None:
    """It is delivered again with its attempts raised, not before its time, and holds back the commit until settled."""
    topic = bench.topic()
    bench.fill(topic, [b"0", b"1", b"2"])
    consumer = bench.consumer(topic)
    found = take(consumer, 3)

    started = time.monotonic()
    consumer.on_fail([found[1]], 0.3)
    consumer.on_success([found[0], found[2]])
    assert consumer.lag() == 1
    again = take(consumer, 1)

    assert time.monotonic() - started >= 0.3
    assert [(message.message, message.attempts, message.offset) for message in again] == [(b"1", 2, 1)]
    assert bench.committed(topic) == 1
    consumer.on_success(again)
    until(lambda: bench.committed(topic) == 3, lambda: consumer.consume(10, 0.05))


def test_messages_given_back_count_their_attempts(bench: Any, take: Take) -> None:
    """Each further delivery is one attempt more; at once means at once."""
    topic = bench.topic()
    bench.fill(topic, [b"0"])
    consumer = bench.consumer(topic)
    message = take(consumer, 1)[0]

    for attempt in (2, 3, 4):
        consumer.on_fail([message])
        message = take(consumer, 1)[0]
        assert message.attempts == attempt


def test_a_redelivery_is_what_the_broker_sent(bench: Any, take: Take) -> None:
    """A function sees the client's message, which has setters; what it does with them ends with its attempt."""
    topic = bench.topic()
    headers = [("trace", b"1"), ("null", None)]
    bench.fill(topic, [b"body"], key=b"key", headers=headers)
    consumer = bench.consumer(topic)

    for attempt in (1, 2, 3):
        message = take(consumer, 1)[0]
        context = message.message_context
        assert (message.attempts, message.message, message.key) == (attempt, b"body", b"key")
        assert list(message.headers) == [("trace", b"1"), ("null", None)]
        assert (context.value(), context.key(), context.headers()) == (b"body", b"key", headers)
        context.set_value({"edited": True})
        context.set_key(None)
        context.headers().append(("edited", b""))
        context.set_headers([("edited", b"")])
        message.message = b"edited"
        consumer.on_fail([message])


def test_a_redelivered_tombstone_is_still_one(bench: Any, take: Take) -> None:
    """No body, no key and no headers are what they were, also after they were read."""
    topic = bench.topic()
    bench.fill(topic, [None])
    consumer = bench.consumer(topic)

    for _ in range(2):
        message = take(consumer, 1)[0]
        context = message.message_context
        assert (message.message, message.key, tuple(message.headers)) == (None, None, ())
        assert (context.value(), context.key(), context.headers()) == (None, None, None)
        consumer.on_fail([message])


def test_messages_given_back_one_by_one_come_again_in_order_and_before_younger_ones(bench: Any, take: Take) -> None:
    """Within a partition by offset, whatever order they were given back in; then what was never delivered."""
    topic = bench.topic(partitions=2)
    for partition in (0, 1):
        bench.fill(topic, [b"%d" % number for number in range(30)], partition)
    consumer = bench.consumer(topic)
    found = take(consumer, 30)
    delivered = {partition: sum(each.ledger.partition[1] == partition for each in found) for partition in (0, 1)}

    for message in reversed(found):
        consumer.on_fail([message])
    again = take(consumer, 60)

    for partition in (0, 1):
        ours = [each for each in again if each.ledger.partition[1] == partition]
        assert [each.offset for each in ours] == list(range(30))
        assert [each.attempts for each in ours] == [2] * delivered[partition] + [1] * (30 - delivered[partition])


def test_only_the_last_delivery_of_a_message_can_be_settled(bench: Any, take: Take) -> None:
    """What is said of one that was given back comes too late: it neither commits nor gives back once more."""
    topic = bench.topic()
    bench.fill(topic, [b"0", b"1"])
    consumer = bench.consumer(topic)
    first = take(consumer, 2)
    consumer.on_fail(first[:1])

    assert consumer.on_success(first) == 1
    consumer.on_fail(first)
    again = take(consumer, 1)

    assert (again[0].message, again[0].attempts) == (b"0", 2)
    assert consumer.on_success(first[:1]) == 1
    assert consumer.consume(10, 0.3) == []
    consumer.shutdown()
    assert bench.committed(topic) == 0


def test_a_message_that_has_succeeded_cannot_be_given_back(bench: Any, take: Take, until: Until) -> None:
    """Also if it is not committed yet, because an earlier one is still under way."""
    topic = bench.topic()
    bench.fill(topic, [b"0", b"1"])
    consumer = bench.consumer(topic)
    found = take(consumer, 2)
    consumer.on_success(found[1:])

    consumer.on_fail(found[1:])

    assert consumer.consume(10, 0.3) == []
    assert consumer.lag() == 0
    consumer.on_success(found[:1])
    until(lambda: bench.committed(topic) == 2, lambda: consumer.consume(10, 0.05))


def test_a_consumer_that_only_redelivers_takes_no_more_from_the_client(
    bench: Any, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It polls to stay a member, which brings a message; one that waits is enough. Later all come, in order."""
    monkeypatch.setattr(consumer_module, "POLL_EVERY", 0.0)
    topic = bench.topic()
    bench.fill(topic, [b"%d" % number for number in range(300)])
    consumer = bench.consumer(topic)
    found = take(consumer, 5)

    for _ in range(50):
        consumer.on_fail(found)
        found = take(consumer, 5)
        assert [message.offset for message in found] == list(range(5))

    assert len(consumer._reader.ready) == 1
    assert [message.offset for message in take(consumer, 295)] == list(range(5, 300))


def test_a_consumer_that_only_redelivers_stays_a_member(real_bench: Any, take: Take, until: Until) -> None:
    """It has messages enough without the client, and polls it nevertheless, past max.poll.interval too."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"%d" % number for number in range(5)])
    consumer = real_bench.consumer(topic, **{"max.poll.interval.ms": 2000, "session.timeout.ms": 2000})
    found = take(consumer, 1)

    busy_until = time.monotonic() + 4
    while time.monotonic() < busy_until:
        consumer.on_fail(found)
        found = take(consumer, 1)
    assert found[0].offset == 0

    assert consumer.on_success(found) == 0
    rest = take(consumer, 4)
    assert [message.offset for message in rest] == [1, 2, 3, 4]
    assert consumer.on_success(rest) == 0
    until(lambda: real_bench.committed(topic) == 5, lambda: consumer.consume(1, 0.05))
