"""Stops and kills of a worker on Kafka while some messages wait for another try: what comes twice, and what may."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.end_to_end.workers import APPS, Worker, wait_until, worker
from tests.servers.kafka.server import KafkaServer

MESSAGES = int(os.environ.get("PENSTOCK_TEST_MESSAGES", "6000"))  # more, for figures
PARTITIONS = 4
IN_FLIGHT = 2_000
COMMIT_INTERVAL = 0.5  # seconds
ALWAYS = 1_000_000  # a message that fails so often waits for as long as a test takes


class Line:
    """A queue of numbers, and the one that they are sent on to."""

    def __init__(self, kafka: KafkaServer, directory: Path, retry: str) -> None:
        from confluent_kafka import Consumer, Producer, TopicPartition

        self.source, self.out = kafka.topic(partitions=PARTITIONS), kafka.topic(partitions=PARTITIONS)
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5, "log_level": 2})
        self._reader = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "reader", "log_level": 2})
        self._reader.assign([TopicPartition(self.out, number, 0) for number in range(PARTITIONS)])
        self._found = Counter[int]()
        self._directory = directory
        self._sent = 0
        (directory / "queues.yml").write_text(
            f"""
queues:
  numbers:
    profile: confluent
    value: {self.source}
    config: {{bootstrap.servers: "{kafka.bootstrap}", group.id: group-{self.source}, session.timeout.ms: 6000,
             heartbeat.interval.ms: 500, commit_interval: {COMMIT_INTERVAL}}}
  out: {{profile: confluent, value: {self.out}, config: {{bootstrap.servers: "{kafka.bootstrap}"}}}}
engine: {{max_in_flight: {IN_FLIGHT}, retry: {retry}}}
"""
        )

    def send(self, fails: Sequence[int]) -> None:
        """A message for each number of times that it is to fail."""
        for each in fails:
            body = json.dumps({"id": self._sent, "fails": each})
            self._producer.produce(self.source, body, partition=self._sent % PARTITIONS)
            self._producer.poll(0)
            self._sent += 1
        assert self._producer.flush(30) == 0

    def work(self) -> AbstractContextManager[Worker]:
        """A worker, until the end of the block."""
        return worker(APPS / "waiting.py", "--config", "queues.yml", cwd=self._directory)

    def count(self) -> int:
        """How many outputs there are, duplicates included."""
        from confluent_kafka import TopicPartition

        places = [TopicPartition(self.out, number) for number in range(PARTITIONS)]
        return sum(self._reader.get_watermark_offsets(place, timeout=10)[1] for place in places)

    def outputs(self) -> Counter[int]:
        """How often each id is there."""
        expected = self.count()
        while self._found.total() < expected:
            self._found.update(json.loads(message.value())["id"] for message in self._reader.consume(1_000, 0.1))
        return self._found

    def close(self) -> None:
        """Close the clients."""
        self._reader.close()


@pytest.fixture
def line(real_kafka: KafkaServer, tmp_path: Path) -> Iterator[Line]:
    """A line whose messages wait about half a second before each further attempt."""
    line = Line(real_kafka, tmp_path, "{max_attempts: 50, initial_delay: 0.5, factor: 1}")
    yield line
    line.close()


@pytest.fixture
def patient(real_kafka: KafkaServer, tmp_path: Path) -> Iterator[Line]:
    """A line whose messages wait long before another try."""
    line = Line(real_kafka, tmp_path, "{max_attempts: 1000, initial_delay: 600, max_delay: 600}")
    yield line
    line.close()


def stop(running: Worker) -> None:
    """Send SIGTERM, and check that it ends in order and soon."""
    code, seconds = running.stop(within=25)
    assert code == 0, running.output
    assert seconds < 20, running.output


def moment(line: Line, enough: int, running: Worker) -> None:
    """Wait until there are so many outputs."""
    wait_until(lambda: line.count() >= enough, f"{enough} outputs", [running])


def twice(line: Line) -> int:
    """How many outputs are there again."""
    found = line.outputs()
    return found.total() - len(found)


@pytest.mark.timeout(180)
def test_nothing_comes_twice_after_stops_under_load(line: Line) -> None:
    """Two of a hundred messages wait for another try whenever the worker is stopped."""
    line.send([2 if number % 50 == 17 else 0 for number in range(MESSAGES)])
    for share in (0.2, 0.5, 0.8, 1.0):
        with line.work() as running:
            moment(line, int(share * MESSAGES), running)
            stop(running)

    found = line.outputs()
    duplicates = found.total() - len(found)
    print(f"\nkafka, {MESSAGES} messages, 2 % retrying, 3 SIGTERM: {duplicates} duplicates (bound 0)")
    assert len(found) == MESSAGES
    assert duplicates == 0


@pytest.mark.timeout(180)
def test_one_message_that_waits_makes_nothing_come_twice(patient: Line) -> None:
    """After a clean stop nothing, after a kill at most what was settled since the last commit, and what was in
    flight."""
    line = patient
    line.send([ALWAYS, *[0] * (MESSAGES - 1)])
    with line.work() as running:
        moment(line, MESSAGES - 1, running)
        stop(running)
    assert twice(line) == 0

    line.send([0] * MESSAGES)
    with line.work() as running:
        started, before = time.monotonic(), line.count()
        moment(line, before + MESSAGES // 2, running)
        running.kill()
    rate = (line.count() - before) / (time.monotonic() - started)
    assert twice(line) == 0

    with line.work() as running:
        moment(line, 2 * MESSAGES - 1, running)
        line.send([0] * PARTITIONS)
        last = set(range(2 * MESSAGES, 2 * MESSAGES + PARTITIONS))
        wait_until(lambda: last <= set(line.outputs()), "the end", [running])
        stop(running)

    found = line.outputs()
    duplicates, bound = found.total() - len(found), IN_FLIGHT + int(10_000 * COMMIT_INTERVAL)
    print(f"\nkafka, {MESSAGES} messages behind one that waits: SIGTERM 0 duplicates (bound 0), kill {duplicates} "
          f"(bound {bound}: {IN_FLIGHT} in flight, {COMMIT_INTERVAL} s at 10,000/s; it did {rate:.0f}/s)")  # fmt: skip
    assert set(found) == set(range(1, 2 * MESSAGES + PARTITIONS))
    assert duplicates <= bound
