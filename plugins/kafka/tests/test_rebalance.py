"""Partitions that come and go while messages are under way; on a broker, for the mock rebalances slowly."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from queue import Queue
from typing import Any

from penstock_kafka.consumer import KafkaConsumer

Take = Callable[..., list[Any]]
Until = Callable[..., None]


class Worker:
    """Works as an engine does: one thread consumes, another settles a little later, out of order, in bits."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self.consumer = consumer
        self.done: list[bytes] = []
        self.late = 0
        self._stop = threading.Event()
        self._batches: Queue[list[Any] | None] = Queue(maxsize=4)
        self._threads = [threading.Thread(target=self._consume), threading.Thread(target=self._settle)]
        for thread in self._threads:
            thread.start()

    def _consume(self) -> None:
        while not self._stop.is_set():
            room = 0 if self._batches.full() else 50
            found = list(self.consumer.consume(room, 0.05))
            if found:
                self._batches.put(found)
        self._batches.put(None)
        self._threads[1].join()
        self.consumer.shutdown()

    def _settle(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._stop.wait(0.002)
            self.done += [message.message for message in batch]
            for share in (batch[1::2], batch[::2]):
                if share:
                    self.late += self.consumer.on_success(share)

    def stop(self) -> None:
        """Settle what was taken, and leave the group."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_nothing_is_lost_when_workers_come_and_go(real_bench: Any, until: Until) -> None:
    """Under load a second worker joins, leaves, and joins again; every message is processed, few of them twice."""
    count, partitions = 6000, 4
    topic = real_bench.topic(partitions=partitions)
    for partition in range(partitions):
        real_bench.fill(topic, [b"%d-%d" % (partition, i) for i in range(count // partitions)], partition)
    quick = {"session.timeout.ms": 6000}
    workers = [Worker(real_bench.consumer(topic, **quick))]
    try:
        until(lambda: len(workers[0].done) > 200)
        for _ in range(2):
            workers.append(Worker(real_bench.consumer(topic, **quick)))
            until(lambda: len(workers[-1].done) > 100 or sum(len(each.done) for each in workers) >= count)
            workers[-1].stop()
        until(lambda: len({body for each in workers for body in each.done}) == count)
    finally:
        for worker in workers:
            worker.stop()

    times = Counter(body for worker in workers for body in worker.done)
    assert len(times) == count
    # A partition is settled before another consumer gets it, so hardly anything is done twice.
    assert sum(times.values()) - count <= 200
    assert [real_bench.committed(topic, partition) for partition in range(partitions)] == [
        count // partitions
    ] * partitions


def two_members(
    bench: Any, until: Until, first: KafkaConsumer, topic: str
) -> tuple[KafkaConsumer, list[Any], list[Any]]:
    """Let a second consumer join, until each owns one partition of two; returns it, and what either took meanwhile."""
    second: KafkaConsumer = bench.consumer(topic)
    ours: list[Any] = []
    theirs: list[Any] = []

    def both() -> None:
        ours.extend(first.consume(10, 0.02))
        theirs.extend(second.consume(10, 0.02))

    until(lambda: owned(first) == 1 and owned(second) == 1, both)
    return second, ours, theirs


def owned(consumer: KafkaConsumer) -> int:
    """How many partitions a consumer has, as the client sees it."""
    return len(consumer._open()[0].assignment())


def test_a_settlement_that_comes_after_the_partition_went_is_fenced(real_bench: Any, take: Take, until: Until) -> None:
    """It is counted as late, commits nothing, and the new owner gets the messages."""
    topic = real_bench.topic(partitions=2)
    for partition in (0, 1):
        real_bench.fill(topic, [b"%d" % partition] * 5, partition)
    first = real_bench.consumer(topic, revoke_timeout=0.1)
    found = take(first, 10)
    second, _, theirs = two_members(real_bench, until, first, topic)
    kept = {ledger.partition for ledger in first._open()[1].tracker.ledgers()}
    gone = [message for message in found if message.ledger.partition not in kept]
    assert len(gone) == 5

    late = first.on_success(found)

    assert late == 5
    partition = gone[0].ledger.partition[1]
    until(lambda: real_bench.committed(topic, 1 - partition) == 5, lambda: first.consume(1, 0.05))
    assert real_bench.committed(topic, partition) == 0
    theirs += take(second, 5 - len(theirs))
    assert [message.position for message in theirs] == [message.position for message in gone]


def test_a_partition_is_given_away_only_when_its_messages_are_settled(
    real_bench: Any, take: Take, until: Until
) -> None:
    """The new owner begins where the old one ended: nothing comes twice."""
    topic = real_bench.topic(partitions=2)
    for partition in (0, 1):
        real_bench.fill(topic, [b"%d" % partition] * 5, partition)
    first = real_bench.consumer(topic, revoke_timeout=20)
    found = take(first, 10)
    settling = threading.Timer(1.0, lambda: first.on_success(found))
    settling.start()

    second, _, theirs = two_members(real_bench, until, first, topic)
    settling.join()

    assert not any(message.ledger.open for message in found)
    until(lambda: second.lag() == 0, lambda: theirs.extend(second.consume(10, 0.02)))
    assert theirs == []


def test_messages_that_were_given_back_do_not_hold_up_a_rebalance(real_bench: Any, take: Take, until: Until) -> None:
    """They are the new owner's, at once; the old one forgets them."""
    topic = real_bench.topic(partitions=2)
    for partition in (0, 1):
        real_bench.fill(topic, [b"%d" % partition], partition)
    first = real_bench.consumer(topic, revoke_timeout=60)
    found = take(first, 2)
    first.on_fail(found, 1.0)

    second, ours, theirs = two_members(real_bench, until, first, topic)
    theirs += take(second, 1 - len(theirs))
    ours += take(first, 1 - len(ours))

    assert {message.message for message in ours + theirs} == {b"0", b"1"}
    assert [message.attempts for message in ours + theirs] == [2, 1]
    assert first.lag() == 0


def test_messages_that_keep_failing_do_not_hold_up_a_rebalance(real_bench: Any, until: Until) -> None:
    """A message about to be delivered again is with no function while the rebalance waits for those that are."""
    topic = real_bench.topic(partitions=2)
    for partition in (0, 1):
        real_bench.fill(topic, [b"%d" % partition], partition)
    first = real_bench.consumer(topic, revoke_timeout=20)
    until(lambda: owned(first) == 2, lambda: first.on_fail(first.consume(10, 0.02)))
    second: KafkaConsumer = real_bench.consumer(topic)
    longest = 0.0

    def both() -> None:
        nonlocal longest
        started = time.monotonic()
        first.on_fail(first.consume(10, 0.02))
        longest = max(longest, time.monotonic() - started)
        second.on_fail(second.consume(10, 0.02))

    until(lambda: owned(first) == 1 and owned(second) == 1, both)

    assert longest < 10
    found = {message.message for each in (first, second) for message in each.consume(10, 5.0)}
    assert found == {b"0", b"1"}


def test_a_partition_that_was_lost_while_paused_comes_back_alive(real_bench: Any, take: Take, until: Until) -> None:
    """The client remembers a pause across rebalances; without undoing it the partition would be silent for ever."""
    topic = real_bench.topic(partitions=2)
    first = real_bench.consumer(topic)
    until(lambda: owned(first) == 2, lambda: first.consume(1, 0.05))
    # Without room for longer than a second, the partitions are paused; so they are when one of them is taken away.
    second: KafkaConsumer = real_bench.consumer(topic)
    seconds: list[Any] = []
    until(
        lambda: owned(first) == 1 and owned(second) == 1 and first._open()[1]._paused,
        lambda: (first.consume(0, 0.05), seconds.extend(second.consume(1, 0.05))),
    )
    second.shutdown()
    until(lambda: owned(first) == 2, lambda: first.consume(1, 0.05))

    for partition in (0, 1):
        real_bench.fill(topic, [b"%d" % partition], partition)

    assert {message.message for message in take(first, 2)} == {b"0", b"1"}
    assert seconds == []


def test_a_partition_lost_without_warning_is_not_committed(real_bench: Any, take: Take, until: Until) -> None:
    """A worker that did not poll for too long is thrown out: what it settles then is late, and comes again."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"0", b"1"])
    impatient = {"max.poll.interval.ms": 2000, "session.timeout.ms": 2000}
    consumer = real_bench.consumer(topic, commit_interval=60, **impatient)
    found = take(consumer, 2)
    consumer.on_success(found[:1])

    threading.Event().wait(3.0)  # it is the passing of time without a poll that is tested
    again = take(consumer, 2)

    assert [message.message for message in again] == [b"0", b"1"]
    assert consumer.on_success(found[1:]) == 1
    assert real_bench.committed(topic) <= 0
