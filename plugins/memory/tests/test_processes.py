"""Several processes share a queue, and one of them is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from penstock.message import Record
from penstock_memory.consumer import MemoryConsumer
from penstock_memory.producer import MemoryProducer

WORKER = Path(__file__).with_name("worker.py")
BATCH = 50

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Starts consumers in processes of their own; all of them end with the test."""
    with ExitStack() as stack:

        def start(url: str, seen: Path, *more: str) -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen([sys.executable, WORKER, url, seen, str(BATCH), *more]))
            stack.callback(process.kill)
            return process

        yield start


def numbers_in(path: Path) -> list[int]:
    """What a worker has written, an unfinished last line left out."""
    if not path.exists():
        return []
    return [int(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_ten_thousand_messages_survive_the_kill_of_a_consumer(
    place: Any, until: Callable[..., Awaitable[None]], start_worker: StartWorker, tmp_path: Path
) -> None:
    """kill -9 in the middle: nothing is lost, at most what the victim held comes twice, and no lease is waited for."""
    total = 10_000
    files = [tmp_path / str(number) for number in range(3)]

    async def main() -> None:
        producer, observer = MemoryProducer("numbers", place.options()), MemoryConsumer("numbers", place.options())
        await producer.connect()
        await observer.connect()
        killed = asyncio.Event()

        async def feed() -> None:
            for first in range(0, total, 100):
                if first == total // 2:
                    await killed.wait()
                numbers = range(first, first + 100)
                assert not any(await producer.produce([Record(str(number).encode()) for number in numbers]))

        async def kill() -> None:
            victim = start_worker(place.url, files[0])
            await until(lambda: len(numbers_in(files[0])) >= 1000)
            os.kill(victim.pid, signal.SIGKILL)
            killed.set()
            for path in files[1:]:
                start_worker(place.url, path)

        await asyncio.gather(feed(), kill())
        await until(lambda: len({number for path in files for number in numbers_in(path)}) == total)
        # The default lease is a minute: what comes within seconds came because the connection was closed.
        async with asyncio.timeout(10):
            while await observer.lag():
                await asyncio.sleep(0)
        await producer.shutdown()
        await observer.shutdown()

    asyncio.run(main())
    counts = Counter(number for path in files for number in numbers_in(path))

    assert sorted(counts) == list(range(total))
    assert sum(counts.values()) - total <= BATCH


def test_a_killed_holders_messages_are_visible_at_once(
    place: Any, until: Callable[..., Awaitable[None]], start_worker: StartWorker, tmp_path: Path
) -> None:
    """The successor need not wait for the lease of a minute."""

    async def main() -> None:
        producer, successor = MemoryProducer("numbers", place.options()), MemoryConsumer("numbers", place.options())
        await producer.connect()
        await successor.connect()
        worker = start_worker(place.url, tmp_path / "seen", "hold")
        await producer.produce([Record(b"7")])
        await until(lambda: numbers_in(tmp_path / "seen") == [7])
        waiting = asyncio.create_task(successor.consume(9, 30))
        os.kill(worker.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            (message,) = await waiting

        assert (message.message, message.attempts) == (b"7", 2)
        await producer.shutdown()
        await successor.shutdown()

    asyncio.run(main())
