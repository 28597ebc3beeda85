"""What browsing Kafka topics shows beyond what the conformance kit asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import BrowsedMessage, Record
from penstock_kafka.consumer import KafkaConsumer

Take = Callable[..., Any]


def everything(consumer: KafkaConsumer, limit: int) -> list[BrowsedMessage]:
    seen: list[BrowsedMessage] = []
    after = None
    while page := consumer.browse(limit, after):
        seen += page
        after = page[-1].position
    return seen


def test_a_message_is_shown_with_all_that_belongs_to_it(bench: Any, take: Take) -> None:
    """Key, headers, time and position are those that a consumer gets; a log tells no attempts."""
    topic = bench.topic()
    record = Record(b"x", b"k", [("h", b"\xff"), ("n", None)])
    assert bench.produce(topic, [record, Record(None, b"k")]) == [None, None]

    seen = everything(bench.consumer(topic, connect=False), 1)
    consumed = take(bench.consumer(topic), 2)

    assert [(each.message, each.key, list(each.headers)) for each in seen] == [
        (b"x", b"k", [("h", b"\xff"), ("n", None)]),
        (None, b"k", []),
    ]
    assert [(each.position, each.timestamp) for each in seen] == [(each.position, each.timestamp) for each in consumed]
    assert {(each.state, each.attempts, each.message_context) for each in seen} == {("kept", 0, None)}


def test_partitions_come_one_after_the_other(bench: Any) -> None:
    """Also those of several topics, so that a position says what was seen before."""
    first, second = sorted((bench.topic(partitions=2), bench.topic(partitions=2)))
    for topic in (first, second):
        for partition in (0, 1):
            bench.fill(topic, [b"%d" % number for number in range(3)], partition)

    seen = everything(bench.consumer(f"{second},{first}", connect=False), 2)

    assert [each.position for each in seen] == [
        f"{topic}/{partition}/{offset}" for topic in (first, second) for partition in (0, 1) for offset in range(3)
    ]


def test_no_group_comes_to_be(bench: Any) -> None:
    """Neither by the configured name, nor by another one where there is none."""
    topic = bench.topic()
    bench.fill(topic, [b"x"])

    for group in ({"group.id": bench.group}, {"group.id": None}):
        assert len(bench.consumer(topic, connect=False, **group).browse(10)) == 1

    groups = AdminClient({"bootstrap.servers": bench.server.bootstrap}).list_consumer_groups().result().valid
    assert not {each.group_id for each in groups} & {bench.group, "penstock-browse"}


def test_a_page_of_large_bodies_is_shorter(bench: Any) -> None:
    """It ends with the message that makes it 8 MB."""
    topic = bench.topic()
    bench.fill(topic, [bytes(900_000)] * 12)

    consumer = bench.consumer(topic, connect=False)

    assert len(consumer.browse(100)) == 10
    assert len(everything(consumer, 100)) == 12


def test_a_topic_that_does_not_exist_is_named(bench: Any) -> None:
    """And is not created by looking at it."""
    with pytest.raises(ConnectorError, match="'misspelt'"):
        bench.consumer("misspelt", connect=False).browse(1)

    assert "misspelt" not in AdminClient({"bootstrap.servers": bench.server.bootstrap}).list_topics(timeout=10).topics


@pytest.mark.parametrize("position", ["42", "orders/0", "orders/0/x", "/0/1", ""])
def test_what_is_not_a_position_is_refused(bench: Any, position: str) -> None:
    """With a word about what a position is."""
    with pytest.raises(ConnectorError, match="like 'orders/0/42'"):
        bench.consumer("orders", connect=False).browse(1, position)


def test_brokers_that_are_away_are_not_connected(bench: Any) -> None:
    """So that the same call can be made again."""
    consumer = bench.consumer("orders", connect=False, **{"bootstrap.servers": "127.0.0.1:1", "connect_timeout": 0.5})

    with pytest.raises(NotConnected) as raised:
        consumer.browse(1)
    assert not isinstance(raised.value, FatalConnectorError)


def test_what_a_group_has_not_settled_is_counted(real_bench: Any, take: Take, until: Callable[..., None]) -> None:
    """Over all partitions, without what is settled above a committed offset, by a consumer that joins nothing."""
    topic = real_bench.topic(partitions=2)
    real_bench.fill(topic, [b"0", b"1", b"2", b"3"])
    worker = real_bench.consumer(topic)
    messages = take(worker, 4)
    assert worker.on_success(messages[2:3]) == 0  # neither the first one nor the last
    counter = real_bench.consumer(topic, connect=False)
    until(lambda: counter.backlog().waiting == 3, lambda: worker.consume(0, 0.01))
    real_bench.fill(topic, [b"4"], 1)

    found = counter.backlog()

    assert (found.waiting, found.in_flight, found.delayed) == (4, None, None)
    assert found.oldest == messages[0].timestamp
    other = {"group.id": f"{real_bench.group}-other"}
    assert real_bench.consumer(topic, connect=False, **other).backlog().waiting == 5
    latest = real_bench.consumer(topic, connect=False, **other, **{"auto.offset.reset": "latest"}).backlog()
    assert (latest.waiting, latest.oldest) == (0, None)


def test_what_the_group_has_settled_is_told(bench: Any, take: Take) -> None:
    """Also what is settled behind a message that is not, and to no other group."""
    topic = bench.topic()
    bench.fill(topic, [b"%d" % number for number in range(4)])
    worker = bench.consumer(topic)
    messages = take(worker, 4)
    worker.on_success([messages[0], messages[2]])
    worker.shutdown()

    states = [each.state for each in everything(bench.consumer(topic, connect=False), 3)]
    others = {each.state for each in everything(bench.consumer(topic, connect=False, **{"group.id": "another"}), 3)}

    assert states == ["settled", "kept", "settled", "kept"]
    assert others == {"kept"}
