"""The consumer on a broker: what arrives, what is settled, what is committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from penstock.dead_letters import dead_letter
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record

Take = Callable[..., list[Any]]
Until = Callable[..., None]


def test_a_message_comes_back_with_key_headers_and_timestamp(bench: Any, take: Take) -> None:
    """Everything a record carries is there again, byte for byte, and the position says where it stands."""
    topic = bench.topic()
    headers = [("trace", b"\x00\xff"), ("trace", b"2"), ("empty", b"")]
    when = 1_700_000_000_123

    assert bench.produce(topic, [Record(b"\x00body\xff", b"\xfekey", headers, options={"timestamp": when})]) == [None]

    message = take(bench.consumer(topic), 1)[0]
    assert (message.message, message.key, list(message.headers)) == (b"\x00body\xff", b"\xfekey", headers)
    assert message.timestamp == 1_700_000_000.123
    assert message.attempts == 1
    assert message.position == f"{topic}/0/0"
    assert message.message_context.offset() == 0


def test_a_tombstone_is_no_empty_body(bench: Any, take: Take) -> None:
    """A null body stays null, an empty one empty; so do keys, and a message without headers has none."""
    topic = bench.topic()

    bench.produce(topic, [Record(None, b"k"), Record(b"", b""), Record(b"", None)])

    found = take(bench.consumer(topic), 3)
    assert [(message.message, message.key) for message in found] == [(None, b"k"), (b"", b""), (b"", None)]
    assert [tuple(message.headers) for message in found] == [(), (), ()]


def test_a_null_header_comes_and_goes_as_null(bench: Any, take: Take) -> None:
    """A null header value is not an empty one."""
    topic = bench.topic()
    bench.fill(topic, [b"x"], headers=[("null", None), ("full", b"1")])

    message = take(bench.consumer(topic), 1)[0]
    bench.produce(
        topic, [dead_letter(message, stage="function", error=ValueError(), attempts=1, queue="q", app="a", now=0)]
    )

    assert list(message.headers) == [("null", None), ("full", b"1")]
    assert bench.read(topic, 2)[1].headers()[:2] == [("null", None), ("full", b"1")]


def test_consume_returns_as_soon_as_there_is_anything(bench: Any, take: Take) -> None:
    """A message that arrives ends the wait, however many more would be welcome."""
    topic = bench.topic()
    consumer = bench.consumer(topic)
    bench.fill(topic, [b"first"])
    take(consumer, 1)
    bench.fill(topic, [b"second"])

    started = time.monotonic()
    found = consumer.consume(1000, 20.0)

    assert [message.message for message in found] == [b"second"]
    assert time.monotonic() - started < 5


def test_consume_never_returns_more_than_asked_for(bench: Any, take: Take) -> None:
    """The rest stays for the next call, in order."""
    topic = bench.topic()
    bench.fill(topic, [b"%d" % i for i in range(10)])
    consumer = bench.consumer(topic)

    found = take(consumer, 1) + take(consumer, 4) + take(consumer, 5)

    assert [message.message for message in found] == [b"%d" % i for i in range(10)]


def test_an_offset_is_committed_only_when_everything_before_it_is_settled(bench: Any, take: Take, until: Until) -> None:
    """Settled out of order, the commit stops at the hole, and jumps once it is closed."""
    topic = bench.topic()
    bench.fill(topic, [b"%d" % i for i in range(10)])
    consumer = bench.consumer(topic)
    found = take(consumer, 10)

    consumer.on_success([found[0], found[2]])
    consumer.on_success(found[5:])
    until(lambda: bench.committed(topic) == 1, lambda: consumer.consume(10, 0.05))
    consumer.on_success([found[1], found[4], found[3]])

    until(lambda: bench.committed(topic) == 10, lambda: consumer.consume(10, 0.05))


CRASH = """
import sys
from penstock_kafka.consumer import KafkaConsumer
from penstock_kafka.options import KafkaOptions
bootstrap, group, topic = sys.argv[1:]
consumer = KafkaConsumer(topic, KafkaOptions(**{
    "bootstrap.servers": bootstrap, "group.id": group, "commit_interval": 0.05, "session.timeout.ms": 1500,
    "heartbeat.interval.ms": 200, "max.poll.interval.ms": 60000}))
consumer.connect()
found = []
while len(found) < 100:
    found += consumer.consume(100, 0.5)
consumer.on_success([message for message in reversed(found) if message.offset % 50 != 33])
while True:
    consumer.consume(10, 0.05)
    print("alive", flush=True)
"""


def test_nothing_is_lost_when_a_worker_is_killed(real_bench: Any, take: Take, until: Until) -> None:
    """After a kill -9 what was not settled comes again, and of what was settled nothing that had been committed."""
    bench = real_bench
    topic = bench.topic()
    bench.fill(topic, [b"%d" % i for i in range(100)])
    command = [sys.executable, "-c", CRASH, bench.server.bootstrap, bench.group, topic]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"alive\n"
        until(lambda: bench.committed(topic) == 33)
        os.kill(worker.pid, signal.SIGKILL)

    consumer = bench.consumer(topic)
    found = take(consumer, 2)

    assert [message.message for message in found] == [b"33", b"83"]
    until(lambda: consumer.lag() == 0, lambda: found.extend(consumer.consume(100, 0.05)))
    assert len(found) == 2


def test_shutdown_commits_what_is_settled_and_gives_the_rest_to_the_next(real_bench: Any, take: Take) -> None:
    """The next member of the group begins at the first unsettled message, without waiting for a timeout."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"%d" % i for i in range(10)])
    first = real_bench.consumer(topic, commit_interval=60)
    found = take(first, 10)
    first.on_success(found[:4])

    started = time.monotonic()
    first.shutdown()
    again = take(real_bench.consumer(topic), 6)

    assert [message.message for message in again] == [b"%d" % i for i in range(4, 10)]
    assert time.monotonic() - started < 10


def test_settling_twice_changes_nothing(bench: Any, take: Take) -> None:
    """A second settlement is not a late one, and moves no offset."""
    topic = bench.topic()
    bench.fill(topic, [b"0", b"1"])
    consumer = bench.consumer(topic)
    found = take(consumer, 2)

    assert consumer.on_success([found[0]]) == 0
    assert consumer.on_success([found[0]]) == 0
    assert consumer.on_success([]) == 0
    consumer.shutdown()

    assert bench.committed(topic) == 1


def test_one_unsettled_message_pauses_its_partition_only_so_far(bench: Any, take: Take) -> None:
    """Past max_uncommitted a partition waits for the message that holds it back; the others go on."""
    topic = bench.topic(partitions=2)
    bench.fill(topic, [b"slow %d" % i for i in range(300)], partition=0)
    consumer = bench.consumer(topic, max_uncommitted=100)
    held = take(consumer, 1)[0]
    got = []
    quiet = 0
    while quiet < 5:
        found = consumer.consume(20, 0.2)
        consumer.on_success(found)
        got += found
        quiet = 0 if found else quiet + 1
    assert 100 <= len(got) < 150
    bench.fill(topic, [b"fast"], partition=1)
    assert [message.message for message in take(consumer, 1)] == [b"fast"]
    assert consumer.lag() == 300 - 1 - len(got)

    consumer.on_success([held])

    rest = take(consumer, 299 - len(got))
    assert [message.message for message in got + rest] == [b"slow %d" % i for i in range(1, 300)]


def test_a_consumer_without_room_stays_a_member_and_loses_nothing(bench: Any, take: Take) -> None:
    """Asked for no messages it takes none, past max.poll.interval too; asked again, it goes on where it was."""
    topic = bench.topic()
    bench.fill(topic, [b"%d" % i for i in range(50)])
    consumer = bench.consumer(
        topic, **{"max.poll.interval.ms": 3000, "session.timeout.ms": 3000, "queued.min.messages": 10}
    )
    found = take(consumer, 5)

    full_until = time.monotonic() + 4
    while time.monotonic() < full_until:
        assert consumer.consume(0, 0.05) == ()
    assert consumer.on_success(found) == 0
    found += take(consumer, 45)

    assert [message.message for message in found] == [b"%d" % i for i in range(50)]


def test_a_message_behind_the_end_is_not_passed_over_after_a_pause(bench: Any, take: Take, until: Until) -> None:
    """A partition that was read to its end and then paused goes on with the very next message."""
    topic = bench.topic()
    bench.fill(topic, [b"0"])
    consumer = bench.consumer(topic)
    found = take(consumer, 1)
    time.sleep(0.5)  # nothing tells that the client has the news of the end ready, to be taken like a message
    assert consumer.consume(10, 0.05) == []
    until(lambda: consumer._open()[1]._paused, lambda: consumer.consume(0, 0.05))

    bench.fill(topic, [b"1", b"2"])
    found += take(consumer, 2)

    assert [message.message for message in found] == [b"0", b"1", b"2"]


def test_a_wait_without_room_ends_when_something_is_settled(bench: Any, take: Take) -> None:
    """An engine without room waits for a settlement, so a settlement ends the wait."""
    topic = bench.topic()
    bench.fill(topic, [b"0"])
    consumer = bench.consumer(topic)
    consumer.on_success(take(consumer, 1))

    started = time.monotonic()
    consumer.consume(0, 20.0)

    assert time.monotonic() - started < 5


def test_several_topics_are_consumed_together(bench: Any, take: Take, until: Until) -> None:
    """Commas separate topics; each is settled and committed for itself."""
    one, two = bench.topic(), bench.topic()
    bench.fill(one, [b"1", b"1"])
    bench.fill(two, [b"2"])
    consumer = bench.consumer(f"{one}, {two}")

    found = take(consumer, 3)
    consumer.on_success(found)

    assert sorted(message.position for message in found) == sorted([f"{one}/0/0", f"{one}/0/1", f"{two}/0/0"])
    until(lambda: (bench.committed(one), bench.committed(two)) == (2, 1), lambda: consumer.consume(10, 0.05))


def test_a_regular_expression_finds_its_topics(real_bench: Any, take: Take) -> None:
    """A name behind `^` stands for all topics that match."""
    prefix = real_bench.group
    for end in ("a", "b"):
        real_bench.server.topic(f"{prefix}-{end}", partitions=1)
        real_bench.fill(f"{prefix}-{end}", [end.encode()])
    real_bench.server.topic(f"other-{prefix}", partitions=1)
    real_bench.fill(f"other-{prefix}", [b"other"])

    found = take(real_bench.consumer(f"^{prefix}-.*"), 2)

    assert sorted(message.message for message in found) == [b"a", b"b"]


def test_a_topic_that_does_not_exist_is_an_error_that_says_so(real_bench: Any) -> None:
    """It names the topic and the brokers, and is not created by asking."""
    for _ in range(2):
        with pytest.raises(ConnectorError) as caught:
            real_bench.consumer("no-such-topic")
        assert not isinstance(caught.value, (NotConnected, FatalConnectorError))
        assert "topic 'no-such-topic'" in str(caught.value)
        assert real_bench.server.bootstrap in str(caught.value)
        assert "create the topic" in str(caught.value)


def test_brokers_that_do_not_answer_are_away(bench: Any) -> None:
    """The error says where, and why in the operating system's words, within the time that was given."""
    consumer = bench.consumer("any", connect=False, **{"bootstrap.servers": "127.0.0.1:1", "connect_timeout": 1})

    started = time.monotonic()
    with pytest.raises(NotConnected, match=r"Kafka at 127\.0\.0\.1:1: .*Connection refused"):
        consumer.connect()

    assert time.monotonic() - started < 5


def test_a_group_with_another_protocol_refuses_us_for_good(real_bench: Any, until: Until) -> None:
    """Eager and cooperative members cannot share a group; the error says what to change."""
    topic = real_bench.topic()
    eager = real_bench.consumer(topic, **{"partition.assignment.strategy": "range"})
    until(lambda: eager.lag() == 0, lambda: eager.consume(1, 0.05))
    cooperative = real_bench.consumer(topic)

    def wait() -> None:
        for _ in range(200):
            cooperative.consume(1, 0.1)
            eager.consume(1, 0.01)

    with pytest.raises(FatalConnectorError, match=r"'partition\.assignment\.strategy'"):
        wait()


def test_nothing_can_be_consumed_before_connecting_or_after_shutting_down(bench: Any) -> None:
    """Misuse is named; shutting down twice, or unconnected, is none."""
    consumer = bench.consumer(bench.topic(), connect=False)
    consumer.shutdown()
    with pytest.raises(ConnectorError, match="connect"):
        consumer.consume(1, 0)
    consumer.connect()
    consumer.shutdown()
    consumer.shutdown()

    with pytest.raises(ConnectorError, match="connect"):
        consumer.consume(1, 0)
