"""A worker of py-volley, and then one of Penstock, in one consumer group: the same file, with the package renamed."""

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

import pytest
from tests.end_to_end.workers import wait_until
from tests.servers.kafka.server import KafkaServer
from tests.servers.other_library import python_with

GROUP = "takeover"
MESSAGES = 600
PACE = 0.02  # seconds for each message
COMMIT_INTERVAL = 3.0  # seconds: what py-volley works between two commits may come twice at a handover

APP = """
import os, time

from volley import Engine
from volley.data_models import GenericMessage

kafka = {"bootstrap.servers": os.environ["KAFKA"]}
strategy = {"partition.assignment.strategy": "range,roundrobin"}
queue_config = {
    "numbers": {
        "value": os.environ["NUMBERS"],
        "profile": "confluent",
        "config": {**kafka, **strategy, "group.id": os.environ["GROUP"]},
    },
    "seen": {"value": os.environ["SEEN"], "profile": "confluent", "config": kafka},
}
app = Engine(
    app_name="takeover", input_queue="numbers", output_queues=["seen"], queue_config=queue_config, metrics_port=None
)


@app.stream_app
def pass_on(message):
    time.sleep(float(os.environ["PACE"]))
    return [("seen", GenericMessage(n=message.n, by=os.environ["BY"]))]


if __name__ == "__main__":
    pass_on()
"""


@pytest.fixture(scope="session")
def volley() -> Path:
    """The interpreter of an environment with py-volley."""
    return python_with("py-volley-1.3.1", "py-volley[kafka]==1.3.1")


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


def test_a_group_goes_on_without_loss_while_the_worker_is_changed(
    volley: Path, real_kafka: KafkaServer, tmp_path: Path
) -> None:
    """Both at once, then Penstock alone: every message is seen; twice only what py-volley had not committed."""
    from confluent_kafka import Consumer, Producer

    numbers, seen = real_kafka.topic(partitions=4), real_kafka.topic(partitions=1)
    producer = Producer({"bootstrap.servers": real_kafka.bootstrap})
    reader = Consumer(
        {"bootstrap.servers": real_kafka.bootstrap, "group.id": "counts", "auto.offset.reset": "earliest"}
    )
    reader.subscribe([seen])
    counts: dict[str, Counter[int]] = {"volley": Counter(), "penstock": Counter()}

    def send(start: int, end: int) -> None:
        for n in range(start, end):
            producer.produce(numbers, json.dumps({"n": n}), partition=n % 4)
        assert producer.flush(30) == 0

    def read() -> Counter[int]:
        for message in reader.consume(500, timeout=0.2):
            assert message.error() is None
            told = json.loads(message.value())
            counts[told["by"]][told["n"]] += 1
        return counts["volley"] + counts["penstock"]

    (tmp_path / "old.py").write_text(APP)
    (tmp_path / "new.py").write_text(APP.replace("volley", "penstock"))
    shared = {"KAFKA": real_kafka.bootstrap, "NUMBERS": numbers, "SEEN": seen, "GROUP": GROUP, "PACE": str(PACE)}
    send(0, MESSAGES // 2)
    with running(volley, tmp_path / "old.py", BY="volley", **shared) as old:
        wait_until(lambda: len(read()) > 20, "output of py-volley", timeout=90)
        with running(sys.executable, tmp_path / "new.py", BY="penstock", **shared) as new:
            wait_until(lambda: bool(read() and counts["penstock"]), "output of Penstock beside it", timeout=90)
            old.send_signal(signal.SIGTERM)
            old.wait(60)
            send(MESSAGES // 2, MESSAGES)
            wait_until(lambda: len(read()) == MESSAGES, "every message", timeout=120)
            new.send_signal(signal.SIGTERM)
            assert new.wait(60) == 0
    total = read()
    reader.close()

    assert sorted(total) == list(range(MESSAGES))
    twice = total.total() - MESSAGES
    assert twice <= COMMIT_INTERVAL / PACE, f"{twice} came twice"
    # The next worker of the group would have nothing to do: the offsets are those of the end.
    with Consumer({"bootstrap.servers": real_kafka.bootstrap, "group.id": GROUP}) as group:
        from confluent_kafka import TopicPartition

        partitions = [TopicPartition(numbers, n) for n in range(4)]
        left = [
            group.get_watermark_offsets(each, timeout=10)[1] - each.offset for each in group.committed(partitions, 10)
        ]
    assert left == [0, 0, 0, 0]
    print(f"py-volley {counts['volley'].total()}, Penstock {counts['penstock'].total()}, twice {twice}")
