"""`start` and `commit`: where a group begins that has committed nothing, and one that never does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from penstock_kafka.browsing import LATEST
from penstock_kafka.check import check
from penstock_kafka.options import TOOLS_GROUP, KafkaOptions

NEEDED = {"bootstrap.servers": "host:9092", "group.id": "group"}

Take = Callable[..., list[Any]]
Until = Callable[..., None]


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_an_end_of_the_log_is_the_client_s_own_option(start: str) -> None:
    """Of an input alone."""
    options = KafkaOptions(**NEEDED, start=start)

    assert options.merged_settings("input")["auto.offset.reset"] == start
    assert (start in LATEST) == (start == "latest")
    assert "auto.offset.reset" not in options.merged_settings("output")
    assert options.for_tools().start is None


@pytest.mark.parametrize(("ago", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800)])
def test_a_time_may_be_so_long_ago(ago: str, seconds: int) -> None:
    """From the moment at which the configuration is read."""
    start = KafkaOptions(**NEEDED, start=ago).start

    assert isinstance(start, datetime)
    assert abs((datetime.now(UTC) - start).total_seconds() - seconds) < 30


def test_a_time_has_its_zone() -> None:
    """As RFC 3339 writes it, or as an object of Python or TOML."""
    expected = datetime(2026, 11, 27, 2, tzinfo=UTC)

    assert KafkaOptions(**NEEDED, start="2026-11-27T02:00:00Z").start == expected
    assert KafkaOptions(**NEEDED, start=expected).start == expected


@pytest.mark.parametrize("start", ["yesterday", "2h ago", "2026-11-27T02:00:00", "-2h", 7, True, "999999999d", ""])
def test_what_is_not_a_start_is_refused(start: Any) -> None:
    """With what to write."""
    with pytest.raises(ValidationError, match=r"write earliest, latest, a time with its zone"):
        KafkaOptions(**NEEDED, start=start)


def test_two_words_for_the_beginning_are_refused() -> None:
    """One of them would have no effect."""
    problems = check("topic", KafkaOptions(**NEEDED, start="latest", **{"auto.offset.reset": "earliest"}), "input")

    assert [str(each) for each in problems] == [
        "'start' and 'auto.offset.reset' both say where a new group begins; give one of them"
    ]


def test_tools_commit_what_they_have_settled() -> None:
    """Else a second replay would send every dead letter again."""
    tools = KafkaOptions(**NEEDED, commit="never").for_tools()

    assert (tools.commit, tools.group_id) == ("settled", TOOLS_GROUP)


def test_a_new_group_begins_at_a_time(real_bench: Any, take: Take, until: Until) -> None:
    """With the first message that is as young; where none is, at the end."""
    bench = real_bench
    topic = bench.topic(partitions=3)
    old = int((time.time() - 7200) * 1000)
    bench.fill(topic, [b"old"], timestamp=old)
    bench.fill(topic, [b"young"])
    bench.fill(topic, [b"old, too"], partition=1, timestamp=old)
    first = bench.consumer(topic, start="1h")

    assert [message.message for message in take(first, 1)] == [b"young"]
    until(lambda: first.lag() == 0, lambda: first.consume(1, 0.05))
    until(lambda: bench.committed(topic, 1) == 1, lambda: first.consume(1, 0.05))
    first.shutdown()
    assert (bench.committed(topic), bench.committed(topic, 2)) == (1, 0)

    bench.fill(topic, [b"later"], partition=1)
    second = bench.consumer(topic, start=datetime.now(UTC) + timedelta(days=1))
    assert sorted(message.message for message in take(second, 2)) == [b"later", b"young"]


def test_a_group_that_never_commits_reads_again(
    real_bench: Any, take: Take, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """All of it, also what was settled; and says so at the start."""
    bench = real_bench
    topic = bench.topic()
    bench.fill(topic, [b"1", b"2"])

    for _ in range(2):
        with caplog.at_level(logging.WARNING, "penstock"):
            caplog.clear()
            consumer = bench.consumer(topic, commit="never", commit_interval=0.01)
        assert f"group {bench.group!r} commits nothing" in caplog.text
        found = take(consumer, 2)
        consumer.on_success(found)
        until(lambda here=consumer: here.lag() == 0, lambda here=consumer: here.consume(1, 0.05))
        caplog.clear()
        consumer.shutdown()

        assert [message.message for message in found] == [b"1", b"2"]
        assert not caplog.text

    assert bench.committed(topic) == -1001
