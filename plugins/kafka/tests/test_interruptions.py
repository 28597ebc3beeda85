"""What interrupts a poll, or a close: callbacks that raise, signals, brokers that are away. Nothing is passed over."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock.errors import ConnectorError
from penstock.message import Record

Take = Callable[..., list[Any]]
Until = Callable[..., None]

CLOSED_WITHIN = 11.0  # seconds; the contract of connectors says about 10


class Interrupted(Exception):
    """What the handler of a signal raises."""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A signal raises out of whatever the main thread does."""

    def interrupt(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_statistics_callback_that_raises_takes_no_message_with_it(bench: Any, take: Take, caplog: Any) -> None:
    """The client would drop what it has in hand, and what follows would be committed over it."""
    topic = bench.topic()
    count = 3000
    bench.fill(topic, [b"%d" % number for number in range(count)])
    heard: list[str] = []

    def watch(statistics: str) -> None:
        heard.append(json.loads(statistics)["type"])
        raise ValueError("no such panel")

    consumer = bench.consumer(topic, consumer={"statistics.interval.ms": 5, "stats_cb": watch})
    with caplog.at_level(logging.ERROR, logger="penstock.kafka"):
        found: list[Any] = []
        while len(found) < count:
            found += take(consumer, 10)

    assert [message.offset for message in found] == list(range(count))
    assert heard
    assert "'stats_cb' raised; the client goes on" in caplog.text
    assert "no such panel" in caplog.text


def test_records_are_confirmed_although_a_callback_raises(bench: Any) -> None:
    """The thread that hears of confirmations survives it."""
    topic = bench.topic()

    def watch(_: Any) -> None:
        raise ValueError

    watched = {"statistics.interval.ms": 5, "stats_cb": watch, "linger.ms": 100}
    assert bench.produce(topic, [Record(b"%d" % number) for number in range(10)], producer=watched) == [None] * 10


def test_a_consumer_that_was_interrupted_consumes_no_more(bench: Any, take: Take, interruptible: None) -> None:
    """A message may have been in the client's hand; the next consumer gets it, and what is settled stays settled."""
    topic = bench.topic()
    bench.fill(topic, [b"%d" % number for number in range(3)])
    consumer = bench.consumer(topic, commit_interval=60)
    found = take(consumer, 3)
    consumer.on_success(found[:2])

    signalling = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1))
    signalling.start()
    with pytest.raises(Interrupted):
        consumer.consume(10, 20.0)
    bench.fill(topic, [b"3"])

    for _ in range(2):
        with pytest.raises(ConnectorError, match=r"while messages were taken .* Interrupted; .* start again"):
            consumer.consume(10, 0.1)
    consumer.shutdown()
    assert bench.committed(topic) == 2
    assert [message.message for message in take(bench.consumer(topic), 2)] == [b"2", b"3"]


def test_what_is_settled_after_the_end_is_late(real_bench: Any, take: Take) -> None:
    """Of messages given back as well: they are their next owner's, and nothing waits here any more."""
    topic = real_bench.topic()
    real_bench.fill(topic, [b"0", b"1", b"2"])
    consumer = real_bench.consumer(topic)
    found = take(consumer, 3)
    consumer.on_fail(found[:1])
    consumer.shutdown()

    assert consumer.on_success(found[1:]) == 2
    consumer.on_fail(found)
    assert consumer.lag() is None
    assert len(consumer._redelivery) == 0
    assert [message.offset for message in take(real_bench.consumer(topic), 3)] == [0, 1, 2]


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_shutdown_is_bounded_while_the_brokers_are_away(real_bench: Any, take: Take, caplog: Any, how: str) -> None:
    """Gone or hung: it says what was not committed, fences what comes late, and the messages come again."""
    server = real_bench.server
    topic = real_bench.topic()
    real_bench.fill(topic, [b"0", b"1"])
    quick = {"session.timeout.ms": 6000}  # longer than the last commit is waited for
    consumer = real_bench.consumer(topic, commit_interval=60, **quick)
    found = take(consumer, 2)
    getattr(server, how)()
    try:
        consumer.on_success(found[:1])
        started = time.monotonic()
        consumer.shutdown()
        took = time.monotonic() - started
        late = consumer.on_success(found[1:])
    finally:
        server.start() if how == "kill" else server.resume()

    assert took < CLOSED_WITHIN
    assert late == 1
    assert "the last commit was not confirmed in time" in caplog.text
    # Brokers that have just come back may drop the first connections.
    next_one = real_bench.consumer(topic, **quick)
    again = take(next_one, 1, reconnecting=True)
    if again[0].offset == 0:
        again += take(next_one, 1, reconnecting=True)
    # One that hung may carry out, once it goes on, the commit that it was sent.
    assert [message.offset for message in again] in ([[0, 1]] if how == "kill" else [[0, 1], [1]])
