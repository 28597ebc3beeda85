"""Changes a worker of another library for one of Penstock, in one consumer group, and counts every message."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from tests.end_to_end.workers import wait_until
from tests.servers.kafka.server import KafkaServer

HALF = 300
"""Messages that are sent before the change, and after it."""

PACE = 0.02  # seconds for each message


@contextmanager
def running(python: Path | str, file: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """One worker; its output is beside its file."""
    with file.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [str(python), str(file)], env=os.environ | environment, stdout=log, stderr=log, cwd=file.parent
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def change_the_worker(
    kafka: KafkaServer, folder: Path, old: tuple[Path, str], new: str, *, may_come_twice: float
) -> None:
    """Run the old worker, both, and the new one alone; nothing is lost, and the offsets go on.

    Args:
        kafka: The broker.
        folder: For the two programs and their logs.
        old: The interpreter and the program of the old worker, whose outputs say that they are by "old".
        new: The program of Penstock's, by "new".
        may_come_twice: How many messages at most.
    """
    numbers, seen = kafka.topic(partitions=4), kafka.topic(partitions=1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    reader = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "counts", "auto.offset.reset": "earliest"})
    reader.subscribe([seen])
    counts: dict[str, Counter[int]] = {"old": Counter(), "new": Counter()}

    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for n in range(sent, sent + count):
            producer.produce(numbers, json.dumps({"n": n}), partition=n % 4)
        assert producer.flush(30) == 0
        sent += count

    def read() -> Counter[int]:
        for message in reader.consume(500, timeout=0.2):
            assert message.error() is None
            told = json.loads(message.value())
            counts[told["by"]][told["n"]] += 1
        return counts["old"] + counts["new"]

    def both_work() -> bool:
        # The old worker may be through before the new one is a member of the group.
        if len(read()) == sent:
            send(100)
        return bool(counts["new"])

    python, program = old
    (folder / "old.py").write_text(program)
    (folder / "new.py").write_text(new)
    group = f"{numbers}-group"
    shared = {"KAFKA": kafka.bootstrap, "NUMBERS": numbers, "SEEN": seen, "GROUP": group, "PACE": str(PACE)}
    send(HALF)
    with running(python, folder / "old.py", BY="old", **shared) as before:
        wait_until(lambda: len(read()) > 20, "output of the old worker", timeout=90)
        with running(sys.executable, folder / "new.py", BY="new", **shared) as after:
            wait_until(both_work, "output of Penstock beside it", timeout=90)
            before.send_signal(signal.SIGTERM)
            before.wait(60)
            send(HALF)
            wait_until(lambda: len(read()) == sent, "every message", timeout=120)
            after.send_signal(signal.SIGTERM)
            assert after.wait(60) == 0
    total = read()
    reader.close()

    assert sorted(total) == list(range(sent))
    twice = total.total() - sent
    assert twice <= may_come_twice, f"{twice} came twice"
    # The next worker of the group would have nothing to do: the offsets are those of the end.
    with Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group}) as member:
        partitions = [TopicPartition(numbers, n) for n in range(4)]
        left = [
            member.get_watermark_offsets(each, timeout=10)[1] - each.offset for each in member.committed(partitions, 10)
        ]
    assert left == [0, 0, 0, 0]
    print(f"old worker {counts['old'].total()}, Penstock {counts['new'].total()}, twice {twice}")
