"""`delivery: exactly_once` on one file, by a consumer that blocks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock import Engine
from penstock.errors import CapabilityError
from penstock.message import QueueMessage, Record
from penstock_sqlite.consumer import SqliteConsumer
from penstock_sqlite.options import SqliteOptions
from penstock_sqlite.producer import SqliteProducer

APP = """
import time
from penstock import Engine, GenericMessage

app = Engine(input_queue="in", output_queues=["out", "audit"], queue_config="queues.yml", app_name="twice")

@app.stream_app
def twice(message: GenericMessage):
    number = message.number
    time.sleep(0.005)
    return [("out", GenericMessage(number=number)), ("audit", GenericMessage(number=number))]
"""


def configuration(path: Path, **engine: Any) -> dict[str, Any]:
    """An engine from one queue of the file to two others."""
    queue = {"profile": "sqlite", "config": {"path": str(path)}}
    return {
        "queues": {"in": queue, "out": queue, "audit": queue},
        "engine": {"delivery": "exactly_once", **engine},
        "worker": {"metrics_port": None},
    }


def test_killed_workers_store_each_output_once(opened: Any, path: Path, tmp_path: Path) -> None:
    """kill -9 again and again while several processes work: each input has its outputs, in both queues, once."""
    total = 1200
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "queues.yml").write_text(json.dumps(configuration(path, max_in_flight=50)))
    producer = opened.producer("in")
    producer.produce([Record(json.dumps({"number": number}).encode()) for number in range(total)])
    observer, output = opened.consumer("in"), opened.consumer("out")
    command = [sys.executable, "-m", "penstock.cli.main", "run", "app.py", "--drain"]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    workers = [start(), start()]
    try:
        for kill in range(1, 5):
            while len(output.browse(total)) < kill * total // 8:
                assert all(worker.poll() is None for worker in workers)
                time.sleep(0.02)
            victim = workers.pop(0)
            victim.kill()
            victim.wait()
            workers.append(start())
        for worker in workers:
            assert worker.wait(100) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert observer.lag() == 0
    for queue in ("out", "audit"):
        counts = Counter(json.loads(message.message or b"")["number"] for message in output_of(opened, queue, total))
        assert counts == Counter(range(total))


def output_of(opened: Any, queue: str, total: int) -> Sequence[QueueMessage]:
    """All that is in a queue."""
    found: Sequence[QueueMessage] = opened.consumer(queue).browse(9 * total)
    return found


def test_a_producer_of_another_file_takes_no_part(tmp_path: Path) -> None:
    """No transaction spans two files; another connector is none of ours."""
    consumer = SqliteConsumer("in", SqliteOptions(path=str(tmp_path / "a.db")))
    same = SqliteProducer("out", SqliteOptions(path=str(tmp_path / "x" / ".." / "a.db")))
    other = SqliteProducer("out", SqliteOptions(path=str(tmp_path / "b.db")))

    assert consumer.transaction_problem(same) is None
    assert consumer.transaction_problem(other) == "its `path` leads to another file"


def test_an_engine_with_two_files_does_not_start(tmp_path: Path) -> None:
    """It says which queue is elsewhere, and what to do."""
    config = configuration(tmp_path / "a.db")
    config["queues"]["audit"] = {"profile": "sqlite", "config": {"path": str(tmp_path / "b.db")}}
    app = Engine(input_queue="in", output_queues=["out", "audit"], queue_config=config, app_name="two files")

    @app.stream_app
    def nothing(message: Any) -> None: ...

    with pytest.raises(CapabilityError, match=r"'audit'.*its `path` leads to another file; put both into the same"):
        app.run()
