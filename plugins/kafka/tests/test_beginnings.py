"""Where a group begins that has committed nothing, and chooses the end of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Take = Callable[..., list[Any]]
Until = Callable[..., None]

LATEST = {"auto.offset.reset": "latest"}


def test_what_a_new_group_was_given_and_did_not_settle_comes_again(bench: Any, take: Take, until: Until) -> None:
    """The first worker stops over its first messages; the next one begins with them, and not behind them."""
    topic = bench.topic()
    bench.fill(topic, [b"before the group"])
    first = bench.consumer(topic, commit_interval=60, **LATEST)
    until(lambda: first.lag() == 0, lambda: first.consume(1, 0.05))
    bench.fill(topic, [b"1", b"2"])
    assert [message.message for message in take(first, 2)] == [b"1", b"2"]
    first.shutdown()

    assert bench.committed(topic) == 1
    assert [message.message for message in take(bench.consumer(topic, **LATEST), 2)] == [b"1", b"2"]


def test_where_a_group_begins_is_committed_at_once(bench: Any, take: Take, until: Until) -> None:
    """Not after the interval: a worker may be killed before. Nothing else is hurried."""
    topic = bench.topic()
    bench.fill(topic, [b"0", b"1", b"2"])
    consumer = bench.consumer(topic, commit_interval=60, consumer={"auto.offset.reset": "earliest"})
    found = take(consumer, 1)

    until(lambda: bench.committed(topic) == 0, lambda: found.extend(consumer.consume(1, 0.05)))

    consumer.on_success(found)
    found += take(consumer, 3 - len(found))
    until(lambda: consumer.lag() == 0, lambda: consumer.consume(1, 0.05))
    assert bench.committed(topic) == 0


def test_what_comes_between_two_workers_of_an_idle_group_is_not_passed_over(
    bench: Any, take: Take, until: Until
) -> None:
    """The first worker saw no message at all; where it stood is the group's place."""
    topic = bench.topic()
    first = bench.consumer(topic, commit_interval=60, **LATEST)
    until(lambda: bench.committed(topic) == 0, lambda: first.consume(1, 0.05))
    first.shutdown()

    bench.fill(topic, [b"meanwhile"])

    assert [message.message for message in take(bench.consumer(topic, **LATEST), 1)] == [b"meanwhile"]
