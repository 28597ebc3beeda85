"""Several processes share a queue, and some of them are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from penstock.message import Record

WORKER = Path(__file__).with_name("worker.py")
BATCH = 50

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_worker(path: Path) -> Iterator[StartWorker]:
    """Starts consumers in processes of their own; all of them end with the test."""
    with ExitStack() as stack:

        def start(seen: Path, *more: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, WORKER, path, seen, str(BATCH), *more]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
            return process

        yield start


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Look until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def numbers_in(path: Path) -> list[int]:
    """What a worker has written, an unfinished last line left out."""
    if not path.exists():
        return []
    return [int(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_of_four_processes_three_are_killed_and_nothing_is_lost(
    opened: Any, start_worker: StartWorker, tmp_path: Path
) -> None:
    """kill -9 in the middle of their work: what they held comes again, and nothing else; no lease is waited for."""
    files = [tmp_path / str(number) for number in range(4)]
    producer, observer = opened.producer("numbers"), opened.consumer("numbers")
    workers = [start_worker(file) for file in files]
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        assert not any(producer.produce([Record(str(number).encode()) for number in range(sent, sent + count)]))
        sent += count

    def all_have_begun() -> bool:
        send(100)
        return all(numbers_in(file) for file in files)

    until(all_have_begun)
    send(5_000)
    for victim in workers[:3]:
        os.kill(victim.pid, signal.SIGKILL)
    send(5_000)
    until(lambda: len({number for file in files for number in numbers_in(file)}) == sent)
    # The default lease is a minute: what comes within seconds came because the processes had ended.
    until(lambda: observer.lag() == 0, 20)
    counts = Counter(number for file in files for number in numbers_in(file))

    assert sorted(counts) == list(range(sent))
    assert sum(counts.values()) - sent <= 3 * BATCH


def test_a_killed_holders_messages_are_visible_at_once(opened: Any, start_worker: StartWorker, tmp_path: Path) -> None:
    """The successor need not wait for the lease of a minute, and learns that a worker died."""
    producer, successor = opened.producer("numbers"), opened.consumer("numbers")
    worker = start_worker(tmp_path / "seen", "hold")
    producer.produce([Record(b"7")])
    until(lambda: numbers_in(tmp_path / "seen") == [7])
    os.kill(worker.pid, signal.SIGKILL)
    (message,) = successor.consume(9, 20)

    assert (message.message, message.attempts, message.abandoned) == (b"7", 2, 1)


def test_a_record_of_another_process_arrives_soon(opened: Any, path: Path) -> None:
    """Nothing wakes the consumer, which looks again after a short pause."""
    consumer = opened.consumer()
    program = (
        "import sys, time\n"
        "from penstock.message import Record\n"
        "from penstock_sqlite.options import SqliteOptions\n"
        "from penstock_sqlite.producer import SqliteProducer\n"
        "producer = SqliteProducer('q', SqliteOptions(path=sys.argv[1]))\n"
        "producer.connect()\n"
        "producer.produce([Record(b'x')])\n"
        "print(time.time())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True)
    (message,) = consumer.consume(1, 60)
    arrived = time.time()
    told, _ = process.communicate()

    assert message.message == b"x"
    assert arrived - float(told) < 5
