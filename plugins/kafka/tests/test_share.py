"""Share groups on a real broker: settled one by one, counted by the broker, and none waits for a slow one."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from penstock.errors import FatalConnectorError
from penstock.message import QueueMessage
from penstock_kafka import share_consumer
from penstock_kafka.check import check
from penstock_kafka.share_consumer import ShareGroupConsumer
from penstock_kafka.share_options import ShareOptions

TIMEOUT = 30.0  # seconds for anything that must happen
LOCK = "share.record.lock.duration.ms"
LIMIT = "share.delivery.count.limit"

# Takes what is there, says how much, and keeps it until it is killed.
HOLDER = """
import sys, time
from confluent_kafka import ShareConsumer
client = ShareConsumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "log_level": 0})
client.subscribe([sys.argv[3]])
while not (found := client.poll(0.2)):
    pass
print(len(found), flush=True)
time.sleep(60)
"""


class Group:
    """A share group of a test's own, on one topic."""

    def __init__(self, bench: Any, partitions: int = 1) -> None:
        self.bench = bench
        self.partitions = partitions
        self.topic = bench.topic(partitions=partitions)
        self.name = f"share-{uuid.uuid4().hex[:8]}"
        self._consumers: list[ShareGroupConsumer] = []

    def options(self, **more: Any) -> ShareOptions:
        return ShareOptions(**{"bootstrap.servers": self.bench.server.bootstrap, "group.id": self.name, **more})

    def consumer(self, **more: Any) -> ShareGroupConsumer:
        """A consumer that has joined."""
        consumer = ShareGroupConsumer(self.topic, self.options(**more))
        self._consumers.append(consumer)
        consumer.connect()
        return consumer

    def send(self, *bodies: bytes) -> None:
        """One batch of the topic for each body, so that each can be acquired alone."""
        for body in bodies:
            self.bench.fill(self.topic, [body])

    def send_to_each(self, body: bytes, partitions: int | None = None) -> None:
        """One message for each of the first partitions, or for all."""
        for partition in range(partitions or self.partitions):
            self.bench.fill(self.topic, [body], partition=partition)

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.shutdown()


@pytest.fixture
def group(real_bench: Any) -> Iterator[Group]:
    group = Group(real_bench)
    yield group
    group.close()


def take(consumer: ShareGroupConsumer, count: int) -> list[QueueMessage]:
    """Consume until so many messages have come."""
    found: list[QueueMessage] = []
    deadline = time.monotonic() + TIMEOUT
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} messages"
        found += consumer.consume(count - len(found), 0.2)
    return found


def settle_each(consumer: ShareGroupConsumer, count: int) -> list[QueueMessage]:
    """Consume so many messages, each settled before the next."""
    found: list[QueueMessage] = []
    while len(found) < count:
        some = take(consumer, 1)
        assert consumer.on_success(some) == 0
        found += some
    return found


def bodies(messages: list[QueueMessage]) -> list[Any]:
    return sorted(message.message for message in messages)


def test_a_slow_message_holds_up_no_other(group: Group) -> None:
    """One message is not settled; all that come after it in its partition are delivered and settled meanwhile."""
    consumer = group.consumer(members=2)
    group.send(b"slow")
    (slow,) = take(consumer, 1)
    others = [b"%02d" % number for number in range(10)]
    group.send(*others)

    found = settle_each(consumer, len(others))

    assert bodies(found) == others
    assert consumer.on_success([slow]) == 0


def test_a_partition_does_not_wait_for_members_that_hold_messages(real_bench: Any) -> None:
    """Each of two members has two of the four partitions, until one gives its own to the other."""
    group = Group(real_bench, partitions=4)
    try:
        consumer = group.consumer(members=2)
        group.send_to_each(b"slow", partitions=1)
        (slow,) = take(consumer, 1)

        group.send_to_each(b"1")
        others = settle_each(consumer, 4)

        assert bodies(others) == [b"1"] * 4
        assert {message.attempts for message in others} == {1}
        assert consumer.on_success([slow]) == 0
        group.send_to_each(b"2")
        assert bodies(settle_each(consumer, 4)) == [b"2"] * 4
    finally:
        group.close()


def test_a_backlog_is_polled_while_it_is_worked_off(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one poll brought all that it may, a second member is polled at once, however long the first holds that."""
    monkeypatch.setattr(share_consumer, "HELD_FOR_LONG", 3600.0)
    consumer = group.consumer(**{"max.poll.records": 1})
    group.send(b"1")
    first = take(consumer, 1)
    group.send(b"2")

    second = take(consumer, 1)

    assert bodies(first + second) == [b"1", b"2"]
    assert consumer.on_success(first + second) == 0


def test_a_backlog_opens_four_members_and_no_more(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes one poll; what comes then waits for a settlement. None of their threads outlives the consumer."""
    monkeypatch.setattr(share_consumer, "HELD_FOR_LONG", 3600.0)
    before = set(threading.enumerate())
    consumer = group.consumer(**{"max.poll.records": 1})
    held: list[QueueMessage] = []
    for number in range(4):
        group.send(b"%d" % number)
        held += take(consumer, 1)
    group.send(b"4")

    assert not consumer.consume(1, 2.0)
    assert consumer.on_success(held[:1]) == 0
    assert bodies(take(consumer, 1)) == [b"4"]
    consumer.shutdown()

    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), thread.name


def test_each_message_is_settled_by_itself(group: Group) -> None:
    """The second half is settled; after the close the first half comes again, counted by the broker."""
    group.send(*(b"%d" % number for number in range(6)))
    first = group.consumer()
    held = sorted(take(first, 6), key=lambda message: message.position)
    assert [message.attempts for message in held] == [1] * 6

    assert first.on_success(held[3:]) == 0
    first.shutdown()

    again = take(group.consumer(), 3)
    assert bodies(again) == [b"0", b"1", b"2"]
    assert [message.attempts for message in again] == [2, 2, 2]


def test_a_killed_workers_messages_come_to_another(group: Group) -> None:
    """At once, although their locks would last for a minute."""
    group.send(b"1", b"2")
    other = group.consumer()  # sets the group's configuration, and leaves its messages to the holder
    other.shutdown()
    command = [sys.executable, "-c", HOLDER, group.bench.server.bootstrap, group.name, group.topic]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        count = int(holder.stdout.readline())
        holder.send_signal(signal.SIGKILL)
        killed = time.monotonic()
    found = take(group.consumer(), 2)

    assert time.monotonic() - killed < 20
    assert bodies(found) == [b"1", b"2"]
    assert sorted(message.attempts for message in found)[-count:] == [2] * count


def test_a_lock_that_ends_lets_others_have_the_message(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    """The late settlement changes nothing and is counted; the log says what to raise."""
    group.send(b"slow")
    first, second = group.consumer(group={LOCK: 1000}), group.consumer(group={LOCK: 1000})
    (late,) = take(first, 1)

    (again,) = take(second, 1)

    assert (again.message, again.attempts) == (b"slow", 2)
    first.consume(1, 0)
    assert first.on_success([late]) == 1
    assert second.on_success([again]) == 0
    assert LOCK in caplog.text


def test_a_worker_without_room_keeps_no_message_too_long(group: Group) -> None:
    """Its client fetches on by itself: what is locked when there is room again is released, not handed out late."""
    consumer = group.consumer(group={LOCK: 1500})
    assert not consumer.consume(1, 1.0)
    group.send(b"1")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert not consumer.consume(0, 0.1)

    (message,) = take(consumer, 1)

    assert consumer.on_success([message]) == 0
    assert not consumer.consume(1, 0.5)


def test_a_released_message_comes_again_with_the_brokers_count(group: Group) -> None:
    """Each time with one delivery more, at once, also to another worker."""
    group.send(b"1")
    first = group.consumer()
    for attempt in (1, 2, 3):
        (message,) = take(first, 1)
        assert message.attempts == attempt
        assert first.on_fail([message]) == 0
    first.shutdown()

    (message,) = take(group.consumer(), 1)

    assert message.attempts == 4


def test_the_last_delivery_stays_with_its_worker(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    """The broker would drop what is released once more, so it comes again from here; a stop says what is lost."""
    group.send(b"1")
    consumer = group.consumer(group={LIMIT: 2})
    for attempt in (1, 2, 3, 4):
        (message,) = take(consumer, 1)
        assert (message.attempts, message.message) == (attempt, b"1")
        message.message_context.set_value(b"changed")  # as a function might
        assert consumer.on_fail([message]) == 0
    (message,) = take(consumer, 1)
    with caplog.at_level(logging.ERROR, "penstock.kafka"):
        consumer.shutdown()

    assert message.position in caplog.text
    assert "stays in its topic" in caplog.text


def test_what_the_brokers_deliver_no_more_stays_beyond_its_lock(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    """Of two messages, one is with the function and one waits: both can be settled, and delivered again from here."""
    group.bench.fill(group.topic, [b"1", b"2"])
    terms = {LOCK: 1000, LIMIT: 2}
    consumer = group.consumer(group=terms)
    assert [message.attempts for message in take(consumer, 2)] == [1, 1]
    (first,) = take(consumer, 1)  # when the locks have ended
    assert first.attempts == 2
    until = time.monotonic() + 2.5
    while time.monotonic() < until:  # a worker without room
        assert not consumer.consume(0, 0.1)
    (second,) = take(consumer, 1)
    assert consumer.on_fail([first]) == 0
    (again,) = take(consumer, 1)

    assert {second.message, again.message} == {b"1", b"2"}
    assert (second.attempts, again.attempts) == (2, 3)
    assert consumer.on_success([second, again]) == 0
    group.send(b"3")  # it takes others again
    (third,) = take(consumer, 1)
    assert (third.message, consumer.on_success([third])) == (b"3", 0)
    assert "stay with this one" in caplog.text
    another = group.consumer(group=terms)
    assert not another.consume(1, 2.0)


def test_a_stop_says_what_the_brokers_deliver_no_more(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    group.send(b"1")
    consumer = group.consumer(group={LOCK: 1000, LIMIT: 2})
    take(consumer, 1)
    (message,) = take(consumer, 1)  # when the lock has ended
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert not consumer.consume(1, 0.1)

    with caplog.at_level(logging.ERROR, "penstock.kafka"):
        consumer.shutdown()

    assert f"message {message.position} was delivered 2 times" in caplog.text
    assert consumer.on_success([message]) == 1


def test_the_groups_configuration_is_set_where_it_has_none(group: Group) -> None:
    """The defaults lose less than the brokers' own; what an administrator has set stays; null sets nothing."""
    group.consumer(group={LOCK: 5000}).shutdown()
    group.consumer().shutdown()
    client = AdminClient({"bootstrap.servers": group.bench.server.bootstrap})

    def value(name: str, key: str) -> str:
        resource = ConfigResource(ConfigResource.Type.GROUP, name)
        return str(client.describe_configs([resource])[resource].result(TIMEOUT)[key].value)

    assert value(group.name, LOCK) == "5000"
    assert value(group.name, LIMIT) == "10"
    assert value(group.name, "share.auto.offset.reset") == "earliest"
    group.name += "-null"
    group.consumer(group=None).shutdown()
    assert value(group.name, "share.auto.offset.reset") == "latest"


def test_a_value_that_the_brokers_refuse_names_the_option(group: Group) -> None:
    """A limit above the brokers' own ends the worker with what to do."""
    with pytest.raises(FatalConnectorError, match=r"correct them under 'group'.*'group: null'"):
        group.consumer(group={LIMIT: 10_000})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"auto.offset.reset": "earliest"}, "write 'share.auto.offset.reset' under 'group'"),
        ({"consumer": {"session.timeout.ms": 6000}}, "the option 'group'"),
        ({"max.poll.recods": 5}, "did you mean 'max.poll.records'?"),
        ({"memebrs": 5}, "did you mean 'members'?"),
    ],
)
def test_a_key_that_a_share_group_lacks_is_refused(given: dict[str, Any], text: str) -> None:
    """With what to write instead, and at its place."""
    options = ShareOptions(**{"bootstrap.servers": "h:9092", "group.id": "g", **given})

    (problem,) = check("orders", options, "input")

    assert text in problem


def test_a_pattern_is_refused() -> None:
    """The client cannot subscribe to one."""
    options = ShareOptions(**{"bootstrap.servers": "h:9092", "group.id": "g"})

    assert any("has no patterns" in problem for problem in check("^orders", options, "input"))
