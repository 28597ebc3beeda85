"""What is settled above the committed offset does not come again, whichever consumer owns the partition next."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from penstock_kafka import commit_metadata as metadata_module
from penstock_kafka.consumer import KafkaConsumer

Take = Callable[..., list[Any]]
Until = Callable[..., None]

TIMEOUT = 30.0  # seconds


@pytest.fixture(name="rest")
def rest_fixture(until: Until) -> Callable[[KafkaConsumer], list[int]]:
    """The offsets that a consumer still gets, in order, until nothing is left."""

    def rest(consumer: KafkaConsumer) -> list[int]:
        found: list[Any] = []
        until(lambda: consumer.lag() == 0, lambda: found.extend(consumer.consume(1000, 0.05)))
        return [message.offset for message in found]

    return rest


Rest = Callable[[KafkaConsumer], list[int]]


def stored(bench: Any, topic: str, offset: int | None = None, text: str | None = None) -> TopicPartition:
    """What stands at the broker for partition 0; if given, another offset or text is written first."""
    client = Consumer({"bootstrap.servers": bench.server.bootstrap, "group.id": bench.group})
    try:
        [found] = client.committed([TopicPartition(topic, 0)], timeout=TIMEOUT)
        if offset is not None or text is not None:
            kept = found.metadata if text is None else text
            place = TopicPartition(topic, 0, found.offset if offset is None else offset)
            if kept:
                place = TopicPartition(topic, 0, place.offset, kept)
            client.commit(offsets=[place], asynchronous=False)
            [found] = client.committed([TopicPartition(topic, 0)], timeout=TIMEOUT)
        return found
    finally:
        client.close()


def leave_open(bench: Any, take: Take, topic: str, count: int, *still_open: int) -> None:
    """Settle all of `count` messages but some, and leave the group."""
    consumer = bench.consumer(topic, commit_interval=60)
    found = take(consumer, count)
    consumer.on_success([message for message in found if message.offset not in still_open])
    consumer.shutdown()


@pytest.mark.parametrize("still_open", [(0,), (0, 1, 2), (3, 40, 41, 999), tuple(range(0, 1000, 2))])
def test_after_a_clean_end_only_the_unsettled_come(
    real_bench: Any, take: Take, rest: Rest, still_open: tuple[int, ...]
) -> None:
    """One message waits at the front, and everything behind it was settled: it alone comes again."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"x"] * 1000)
    leave_open(real_bench, take, topic, 1000, *still_open)

    consumer = real_bench.consumer(topic)

    assert tuple(rest(consumer)) == still_open


def test_the_text_is_made_again_by_an_owner_that_has_read_little(real_bench: Any, take: Take, rest: Rest) -> None:
    """What it inherited and did not come to is still settled for the owner after it."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"x"] * 1000)
    leave_open(real_bench, take, topic, 1000, 0, 1, 500, 501)
    second = real_bench.consumer(topic, commit_interval=60)
    [first] = take(second, 1)
    second.on_success([first])
    second.shutdown()

    assert stored(real_bench, topic).offset == 1
    assert rest(real_bench.consumer(topic)) == [1, 500, 501]


def test_a_commit_is_sent_also_if_only_what_lies_above_the_offset_has_changed(
    real_bench: Any, take: Take, until: Until
) -> None:
    """Else a kill would bring again what was settled since the first message began to wait."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"x"] * 10)
    consumer = real_bench.consumer(topic, commit_interval=0.05)
    found = take(consumer, 10)
    texts: set[str | None] = set()

    for message in found[1:4]:
        consumer.on_success([message])
        until(lambda: stored(real_bench, topic).metadata not in {None, *texts}, lambda: consumer.consume(0, 0.05))
        texts.add(stored(real_bench, topic).metadata)

    assert len(texts) == 3
    assert stored(real_bench, topic).offset == 0


def test_a_new_owner_after_a_rebalance_gets_only_the_unsettled(real_bench: Any, take: Take, until: Until) -> None:
    """The commit at the revocation carries the text."""
    topic = real_bench.topic(partitions=2)
    for partition in (0, 1):
        real_bench.fill(topic, [b"x"] * 100, partition)
    first = real_bench.consumer(topic, commit_interval=60, revoke_timeout=0.2)
    found = take(first, 200)
    first.on_success([message for message in found if message.offset not in (7, 50)])
    second = real_bench.consumer(topic)
    theirs: list[Any] = []

    until(lambda: len(theirs) >= 2, lambda: (first.consume(10, 0.02), theirs.extend(second.consume(1000, 0.02))))
    until(lambda: second.lag() == 0, lambda: (first.consume(10, 0.02), theirs.extend(second.consume(1000, 0.02))))

    assert [message.offset for message in theirs] == [7, 50]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "another program's",
        "penstock1:5:0:00000000:",
        "penstock1:5:0:00000000:0rr91",
        "penstock2:5:0:1:!",
        "\N{SNOWMAN}:::::",
    ],
)
def test_a_text_of_another_program_passes_nothing_over(real_bench: Any, take: Take, rest: Rest, text: str) -> None:
    """It is not ours, damaged, or of another version."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"x"] * 20)
    leave_open(real_bench, take, topic, 20, 5)
    assert stored(real_bench, topic).offset == 5
    stored(real_bench, topic, text=text)
    if not text:
        stored(real_bench, topic, offset=5, text="")

    assert rest(real_bench.consumer(topic)) == list(range(5, 20))


@pytest.mark.parametrize("offset", [0, 3, 10])
def test_a_text_that_was_copied_to_another_offset_passes_nothing_over(
    real_bench: Any, take: Take, rest: Rest, offset: int
) -> None:
    """A tool that moves a group's offset and keeps the text beside it means the new offset."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"x"] * 20)
    leave_open(real_bench, take, topic, 20, 5)
    stored(real_bench, topic, offset=offset)

    assert rest(real_bench.consumer(topic)) == list(range(offset, 20))


def test_a_text_about_another_log_passes_nothing_over(real_bench: Any, take: Take, rest: Rest) -> None:
    """As a mirror copies it to its cluster, where the same offsets are other messages."""
    topic, other = real_bench.topic(), real_bench.topic()
    for each in (topic, other):
        real_bench.fill(each, [b"x"] * 20)
    leave_open(real_bench, take, topic, 20, 5)
    found = stored(real_bench, topic)
    stored(real_bench, other, offset=found.offset, text=found.metadata)

    assert rest(real_bench.consumer(other)) == list(range(5, 20))


def made_anew(bench: Any, take: Take, count: int) -> str:
    """A topic with so many messages, whose group has the offset and text of an earlier one that had more."""
    from confluent_kafka.admin import AdminClient

    topic: str = bench.topic()
    bench.fill(topic, [b"x"] * 20)
    leave_open(bench, take, topic, 20, 5)
    found = stored(bench, topic)
    admin = AdminClient({"bootstrap.servers": bench.server.bootstrap})
    admin.delete_topics([topic], operation_timeout=30)[topic].result(30)
    bench.server.topic(topic, 1)
    bench.fill(topic, [b"y"] * count)
    stored(bench, topic, offset=found.offset, text=found.metadata)
    return topic


def test_a_topic_that_was_made_anew_is_read_from_its_start(real_bench: Any, take: Take, rest: Rest) -> None:
    """Fewer messages than the old offset: whatever was settled in the old one, these were not."""
    topic = made_anew(real_bench, take, 4)

    assert rest(real_bench.consumer(topic)) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [0, 5], ids=["empty", "ends at the old offset"])
def test_a_topic_that_was_made_anew_and_grows_later_passes_nothing_over(
    real_bench: Any, take: Take, rest: Rest, until: Until, count: int
) -> None:
    """Its end is read first, and lies below what was settled in the old one: that is forgotten there."""
    topic = made_anew(real_bench, take, count)
    consumer = real_bench.consumer(topic)
    assert rest(consumer) == []
    found: list[int] = []

    real_bench.fill(topic, [b"y"] * (21 - count))  # the last one lies above all that was settled
    until(lambda: 20 in found, lambda: found.extend(message.offset for message in consumer.consume(1000, 0.05)))

    assert found == list(range(count, 21))


def written_in_transactions(bench: Any) -> str:
    """A topic with 12 records in four transactions; two more were aborted. A busy broker may give up on a producer."""
    for last in (False, False, True):
        topic: str = bench.topic()
        producer = Producer({"bootstrap.servers": bench.server.bootstrap, "transactional.id": f"t-{topic}"})
        try:
            producer.init_transactions(TIMEOUT)
            for round_ in range(6):
                producer.begin_transaction()
                for _ in range(3):
                    producer.produce(topic, b"x", partition=0)
                if round_ % 3 == 2:
                    producer.abort_transaction(TIMEOUT)
                else:
                    producer.commit_transaction(TIMEOUT)
        except KafkaException:
            if last:
                raise
        else:
            break
    return topic


def test_markers_of_transactions_are_no_messages(real_bench: Any, take: Take, rest: Rest) -> None:
    """They leave holes in the offsets, which neither wait nor hide anything."""
    topic = written_in_transactions(real_bench)
    consumer = real_bench.consumer(topic, commit_interval=60)
    found = take(consumer, 12)
    offsets = [message.offset for message in found]
    consumer.on_success(found[1:7] + found[8:])
    consumer.shutdown()

    assert rest(real_bench.consumer(topic)) == [offsets[0], offsets[7]]


def test_brokers_that_store_less_beside_an_offset_get_less(
    real_bench: Any, take: Take, rest: Rest, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that is refused for its length is made shorter; the offset is committed, and what fits is kept."""
    monkeypatch.setattr(metadata_module, "LIMIT", 16 * 4096)  # as if this broker were set to a sixteenth of ours
    topic, count = real_bench.topic(), 20_000
    real_bench.fill(topic, [b"x"] * count)
    still_open = list(range(0, count, 2))
    leave_open(real_bench, take, topic, count, *still_open)

    found = rest(real_bench.consumer(topic))

    text = stored(real_bench, topic).metadata
    assert text is not None
    assert 1000 < len(text) <= 4096
    assert set(still_open) < set(found)
    assert found[:1000] == still_open[:1000]
    # What did not fit comes again; each run costs a byte, of which five characters carry four.
    assert len(found) <= count - (len(text) - 50) * 4 // 5


def test_a_partition_is_held_back_before_the_text_is_full(
    real_bench: Any, take: Take, rest: Rest, until: Until
) -> None:
    """So that nothing has to be left out; it goes on once enough is settled."""
    topic, count = real_bench.topic(), 20_000
    real_bench.fill(topic, [b"x"] * count)
    consumer = real_bench.consumer(topic, commit_interval=0.01)
    waiting: list[Any] = []

    def work() -> None:
        found = consumer.consume(20, 0.02)
        waiting.extend(found[::2])
        if found[1::2]:
            consumer.on_success(found[1::2])
        time.sleep(0.005)  # a quick machine would fill the text between two commits

    until(lambda: consumer._open()[1]._held_back, work)
    work()
    held = len(waiting)
    for _ in range(20):
        work()
    assert len(waiting) == held < count // 4
    consumer.shutdown()
    assert len(stored(real_bench, topic).metadata or "") < metadata_module.LIMIT
    consumer = real_bench.consumer(topic, commit_interval=0.01)
    # The last call of the first consumer brought some beyond the limit; at it, this one is held back.
    again = take(consumer, held - 20)
    assert [message.offset for message in again] == [message.offset for message in waiting[: held - 20]]

    found: list[Any] = again
    while found or consumer.lag() != 0:
        consumer.on_success(found)
        found = list(consumer.consume(1000, 0.05))
    consumer.shutdown()
    assert real_bench.committed(topic) == count
