"""What a log may hold although no client would send it: batches that cannot be read, names that are not text."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError
from tests.servers.kafka import raw_batch

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_kafka import corruption, stall_detector
from penstock_kafka.corruption import CorruptionTracker
from penstock_kafka.stall_detector import StallDetector

Take = Callable[..., list[Any]]
Until = Callable[..., None]

P = ("topic", 0)
BAD = KafkaError(KafkaError._BAD_MSG)
WRONG_LENGTH = b"\xff" * 8


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_batch_that_stays_damaged_stops_the_consumer(
    mock_bench: Any, take: Take, until: Until, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client would try without end: it is told once, then it is an error that says where, and what to do."""
    monkeypatch.setattr(corruption, "RETRY_FOR", 1.0)
    topic = mock_bench.topic(1)
    mock_bench.fill(topic, [b"0", b"1", b"2"])
    raw_batch.produce(mock_bench.server.bootstrap, topic, raw_batch.batch([raw_batch.record(b"3")], damage=1))
    consumer = mock_bench.consumer(topic)
    consumer.on_success(take(consumer, 3))

    with pytest.raises(ConnectorError) as caught:
        until(lambda: False, lambda: consumer.consume(10, 0.05))

    assert not isinstance(caught.value, (NotConnected, FatalConnectorError))
    assert f"{topic}/0: nothing can be read from offset 3 on" in str(caught.value)
    assert "--reset-offsets" in str(caught.value)
    assert caplog.text.count("nothing can be read") == 1
    consumer.shutdown()
    assert mock_bench.committed(topic) == 3


def test_damage_that_goes_away_is_none_of_the_log() -> None:
    """Another place, another partition, or the same place long after, has its own time to be read."""
    clock = Clock()
    damage = CorruptionTracker("here", clock)

    for place, partition, seconds in ((10, P, 29), (11, P, 29), (11, ("topic", 1), 29), (11, P, 11), (11, P, 29)):
        for _ in range(seconds):
            assert damage.seen(BAD, partition, place) is None
            clock.now += 1
        clock.now += 30
    for _ in range(30):
        assert damage.seen(BAD, P, 11) is None
        clock.now += 1
    assert damage.seen(BAD, P, 11) is not None


def test_a_partition_that_stands_still_is_told(
    mock_bench: Any, take: Take, until: Until, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a record whose length is wrong the client says no word, and brings nothing more."""
    monkeypatch.setattr(stall_detector, "REPORT_INTERVAL", 0.5)
    monkeypatch.setattr(stall_detector, "CHECK_INTERVAL", 0.1)
    topic = mock_bench.topic(3)
    mock_bench.fill(topic, [b"0", b"1"])
    mock_bench.fill(topic, [b"0"], partition=1)
    for partition in (0, 2):
        raw_batch.produce(mock_bench.server.bootstrap, topic, raw_batch.batch([WRONG_LENGTH]), partition)
    consumer = mock_bench.consumer(topic)
    take(consumer, 3)

    def told() -> bool:
        places = [rf"{topic}/0: no message came for \d+ s from offset 2 on", rf"{topic}/2: .* the group's offset on"]
        return all(re.search(place, caplog.text) for place in places)

    until(told, lambda: consumer.consume(10, 0.05))

    assert f"{topic}/1" not in caplog.text


def test_a_partition_stands_still_only_where_it_was_looked_at_all_the_time(caplog: Any) -> None:
    """Not one that goes on, nor one that waits its turn behind others; told every half minute."""
    clock = Clock()
    stalls = StallDetector(clock)

    def wait(seconds: int, **offsets: int) -> int:
        caplog.clear()
        for _ in range(seconds):
            stalls.refresh(lambda: {(name, 0): offset for name, offset in offsets.items()})
            clock.now += 1
        return caplog.text.count("no message came")

    with caplog.at_level(logging.WARNING, logger="penstock.kafka"):
        assert wait(29, a=1, b=1) == 0
        assert wait(3, a=1, b=2) == 1
        assert wait(60, a=1) == 2
        clock.now += 10
        assert wait(30, a=1) == 0
        assert wait(1, a=1) == 1


def test_a_header_whose_name_is_no_text_keeps_its_value(bench: Any, take: Take, caplog: Any) -> None:
    """The client cannot say such a name, and would crash over it; everything else of the message is there."""
    topic = bench.topic(1)
    headers = [(b"first", b"1"), (b"caf\xe9", b"\x00\xff"), (b"<NULL>", b""), (b"last", b"2")]
    raw_batch.produce(bench.server.bootstrap, topic, raw_batch.batch([raw_batch.record(b"body", headers=headers)]))
    consumer = bench.consumer(topic)
    expected = [("first", b"1"), ("\ufffd", b"\x00\xff"), ("<NULL>", b""), ("last", b"2")]

    for _ in range(3):
        message = take(consumer, 1)[0]
        assert (message.message, list(message.headers)) == (b"body", expected)
        assert message.message_context.headers() == expected
        consumer.on_fail([message])

    assert caplog.text.count(f"{topic}/0/0: the name of a header is not UTF-8") == 1


def test_a_function_may_look_at_such_headers_first(bench: Any, take: Take) -> None:
    """Through the client's message, before ours is used; often enough to be compiled for speed."""
    topic = bench.topic(1)
    records = [raw_batch.record(b"x", index, [(b"\xff", b"v")]) for index in range(50)]
    raw_batch.produce(bench.server.bootstrap, topic, raw_batch.batch(records))

    found = take(bench.consumer(topic), 50)

    assert [message.message_context.headers() for message in found[::2]] == [[("\ufffd", b"v")]] * 25
    assert [list(message.headers) for message in found] == [[("\ufffd", b"v")]] * 50
