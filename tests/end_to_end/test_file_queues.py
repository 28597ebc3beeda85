"""The intro example as two processes that share a file, without a server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.workers import wait_until

from penstock.message import Record
from penstock_sqlite.options import SqliteOptions
from penstock_sqlite.producer import SqliteProducer

INTRO = Path(__file__).parents[2] / "examples" / "intro"


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """`penstock run app_N.py --config queues.sqlite.yml`, its two streams in two files."""
    command = [sys.executable, "-m", "penstock.cli.main", "run", f"{name}.py", "--config", "queues.sqlite.yml"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err)


def test_two_processes_pass_numbers_through_a_file(tmp_path: Path) -> None:
    """They print what they print on other queues, and stop on SIGTERM with nothing left."""
    folder = tmp_path / "intro"
    shutil.copytree(INTRO, folder)
    processes = [start(folder, name) for name in ("app_0", "app_1")]
    try:
        producer = SqliteProducer("my-kafka-input", SqliteOptions(path=str(folder / "numbers.db")))
        producer.connect()
        producer.produce([Record((folder / "messages.jsonl").read_bytes().strip())])
        producer.shutdown()
        done = folder / "app_1.out"
        wait_until(lambda: "we are done" in done.read_text(), "the last line of app_1", timeout=60)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    errors = "".join((folder / f"app_{number}.err").read_text() for number in (0, 1))
    printed = [line for number in (0, 1) for line in (folder / f"app_{number}.out").read_text().splitlines()]

    assert codes == [0, 0], errors
    assert sorted(printed) == sorted((folder / "expected.txt").read_text().splitlines()), errors
