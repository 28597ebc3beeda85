"""What brokers refuse on demand; only librdkafka's mock cluster does that, on a real socket."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from penstock.errors import FatalConnectorError
from penstock.message import Record
from penstock.progress import Progress, dump
from penstock_kafka import commits

Take = Callable[..., list[Any]]
Until = Callable[..., None]

PRODUCE, OFFSET_COMMIT, OFFSET_FETCH = 0, 8, 9  # numbers of requests in Kafka's protocol


def test_a_commit_that_was_refused_is_sent_again(mock_bench: Any, take: Take, until: Until, caplog: Any) -> None:
    """A coordinator amid a rebalance says no; the same offset is committed by a later try."""
    topic = mock_bench.topic()
    mock_bench.fill(topic, [b"0", b"1"])
    consumer = mock_bench.consumer(topic)
    found = take(consumer, 2)
    mock_bench.server.refuse(OFFSET_COMMIT, [KafkaError.REBALANCE_IN_PROGRESS] * 2)

    with caplog.at_level(logging.DEBUG, logger="penstock.kafka"):
        consumer.on_success(found)
        until(lambda: mock_bench.committed(topic) == 2, lambda: consumer.consume(10, 0.05))

    assert caplog.text.count("a commit was rejected and is repeated") == 2


@pytest.mark.parametrize("code", [KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.REBALANCE_IN_PROGRESS])
def test_commits_that_are_refused_for_long_are_told(
    mock_bench: Any, take: Take, until: Until, caplog: Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Messages go on, so nothing else would tell; once it works again, nothing is said any more."""
    monkeypatch.setattr(commits, "REPORT_INTERVAL", 0.5)
    topic = mock_bench.topic()
    mock_bench.fill(topic, [b"0", b"1"])
    consumer = mock_bench.consumer(topic)
    found = take(consumer, 2)
    consumer.on_success(found)
    mock_bench.server.refuse(OFFSET_COMMIT, [code] * 20)

    told = "settled messages could not be committed for"
    until(lambda: caplog.text.count(told) == 2, lambda: consumer.consume(10, 0.05))
    assert "would come again after a crash" in caplog.text
    until(lambda: mock_bench.committed(topic) == 2, lambda: consumer.consume(10, 0.05))
    consumer.consume(10, 0.3)
    before = caplog.text.count(told)
    consumer.consume(10, 1.0)
    assert caplog.text.count(told) == before


def test_the_commit_before_a_partition_is_given_away_is_repeated(mock_bench: Any, take: Take) -> None:
    """The next owner would process again what that commit does not carry."""
    topic = mock_bench.topic()
    mock_bench.fill(topic, [b"0", b"1"])
    consumer = mock_bench.consumer(topic, commit_interval=60)
    consumer.on_success(take(consumer, 2))
    mock_bench.server.refuse(OFFSET_COMMIT, [KafkaError.REBALANCE_IN_PROGRESS] * 3)
    client, _assignment = consumer._connected

    consumer._commits.send_and_wait(client, [(topic, 0)])

    assert mock_bench.committed(topic) == 2


def test_nothing_new_is_consumed_while_commits_are_refused(mock_bench: Any, take: Take, until: Until) -> None:
    """Otherwise a worker could settle any number of messages that come again if its partitions are lost."""
    topic = mock_bench.topic()
    mock_bench.fill(topic, [b"0"])
    consumer = mock_bench.consumer(topic)
    found = take(consumer, 1)
    mock_bench.server.refuse(OFFSET_COMMIT, [KafkaError.REBALANCE_IN_PROGRESS] * 40)
    consumer.on_success(found)
    until(consumer._commits.overdue, lambda: consumer.consume(1, 0.02))

    mock_bench.fill(topic, [b"1", b"2"])

    assert not consumer.consume(10, 0.5)
    assert mock_bench.committed(topic) < 1
    assert [each.message for each in take(consumer, 2)] == [b"1", b"2"]
    assert mock_bench.committed(topic) == 1


def test_a_commit_of_lost_partitions_holds_nothing_back(mock_bench: Any, take: Take, until: Until) -> None:
    """Its answer may never come, and the next assignment need not wait for it."""
    topic = mock_bench.topic()
    mock_bench.fill(topic, [b"0"])
    consumer = mock_bench.consumer(topic)
    mock_bench.server.refuse(OFFSET_COMMIT, [KafkaError.REBALANCE_IN_PROGRESS] * 40)
    consumer.on_success(take(consumer, 1))
    until(consumer._commits.overdue, lambda: consumer.consume(1, 0.02))
    client, assignment = consumer._connected

    consumer._on_lost(assignment, client, [TopicPartition(topic, 0)])

    assert not consumer._commits.overdue()


def test_nothing_is_repeated_before_it_is_known_what_others_have_settled(
    mock_bench: Any, take: Take, until: Until
) -> None:
    """What stands beside an offset is asked for until the brokers answer."""
    topic = mock_bench.topic()
    mock_bench.fill(topic, [b"0", b"1", b"2"])
    client = Consumer({"bootstrap.servers": mock_bench.server.bootstrap, "group.id": mock_bench.group})
    until(lambda: client.list_topics().cluster_id)  # a client knows it only after its first answers
    text = dump(Progress(0, ((1, 3),), generation=0), f"{client.list_topics().cluster_id}/{topic}/0", 4000)
    client.commit(offsets=[TopicPartition(topic, 0, 0, text)], asynchronous=False)
    client.close()
    mock_bench.server.refuse(OFFSET_FETCH, [KafkaError.UNKNOWN])
    consumer = mock_bench.consumer(topic)

    found = take(consumer, 1)
    mock_bench.fill(topic, [b"3"])

    assert [each.message for each in found + take(consumer, 1)] == [b"0", b"3"]


def test_the_last_commit_is_repeated_until_the_broker_takes_it(mock_bench: Any, take: Take) -> None:
    """A worker that ends amid a rebalance does not leave its last messages to be done again."""
    topic = mock_bench.topic()
    mock_bench.fill(topic, [b"0", b"1"])
    consumer = mock_bench.consumer(topic, commit_interval=60)
    consumer.on_success(take(consumer, 2))
    mock_bench.server.refuse(OFFSET_COMMIT, [KafkaError.REBALANCE_IN_PROGRESS] * 3)

    consumer.shutdown()

    assert mock_bench.committed(topic) == 2


def test_a_commit_that_is_not_allowed_stops_the_consumer(mock_bench: Any, take: Take, until: Until) -> None:
    """Without the right to commit, each start would process everything again: an error, nothing to repeat."""
    topic = mock_bench.topic()
    mock_bench.fill(topic, [b"0"])
    consumer = mock_bench.consumer(topic)
    mock_bench.server.refuse(OFFSET_COMMIT, [KafkaError.GROUP_AUTHORIZATION_FAILED])
    consumer.on_success(take(consumer, 1))

    with pytest.raises(FatalConnectorError, match=r"commit: .*grant this user access to the group"):
        until(lambda: False, lambda: consumer.consume(10, 0.05))


def test_a_right_that_was_withdrawn_stops_the_engine(mock_bench: Any) -> None:
    """It is not a fault of the record: the whole stream would go to the dead letters. It says what to grant."""
    topic = mock_bench.topic()
    mock_bench.server.refuse(PRODUCE, [KafkaError.TOPIC_AUTHORIZATION_FAILED])

    with pytest.raises(FatalConnectorError, match="grant this user access to the topic"):
        mock_bench.produce(topic, [Record(b"x")])

    assert mock_bench.produce(topic, [Record(b"y")]) == [None]


def test_a_right_that_is_withdrawn_while_records_are_sent_one_by_one_stops_the_engine(mock_bench: Any) -> None:
    """What the broker says of a record alone is taken as seriously as what it says of a batch."""
    topic = mock_bench.topic()
    mock_bench.server.refuse(PRODUCE, [KafkaError.INVALID_RECORD, KafkaError.TOPIC_AUTHORIZATION_FAILED])

    with pytest.raises(FatalConnectorError, match="grant this user access to the topic"):
        mock_bench.produce(topic, [Record(b"x")])


def test_a_report_that_fits_no_record_fails_them_all(mock_bench: Any) -> None:
    """The client turns text into bytes, so its report is about something that was not sent: none counts as stored."""
    topic = mock_bench.topic()
    text: Any = "text"
    records = [Record(text, text), Record(b"x")]
    mock_bench.server.refuse(PRODUCE, [KafkaError.POLICY_VIOLATION] * 3)

    answers = mock_bench.produce(topic, records)

    assert [answer is not None and not answer.retriable for answer in answers] == [True, True]


def test_a_client_that_was_fenced_stops_the_engine(mock_bench: Any) -> None:
    """No record of it will ever be accepted, so none is sent again."""
    topic = mock_bench.topic()
    mock_bench.server.refuse(PRODUCE, [KafkaError.CLUSTER_AUTHORIZATION_FAILED])

    with pytest.raises(FatalConnectorError, match="IdempotentWrite"):
        mock_bench.produce(topic, [Record(b"x")])
