"""A worker in a process of its own, for tests that kill it.

It opens a queue by its settings, as a configuration names it. Each step is a line in its log before the next step
begins. It waits for a word of its parent before it connects.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from penstock.connectors import Consumer, Producer
from penstock.message import QueueMessage, Record
from penstock.standalone import make_consumer, make_producer, resolve

WORK_SECONDS = 0.001  # seconds of work for a message
POLL = 0.2  # seconds of one consume

Go = Callable[[], object]
"""Waits for a word of the parent."""


class Log:
    """A log whose lines survive a kill, because the operating system has them when `write` returns."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, word: str, *bodies: bytes | None) -> None:
        """Write one line for each body, or the word alone."""
        lines = [f"{word} {(body or b'').decode()}\n" for body in bodies] or [f"{word}\n"]
        os.write(self._file, "".join(lines).encode())


async def work(consumer: Consumer, log: Log, job: dict[str, Any], _go: Go) -> None:
    """Consume for ever: work a moment for each message, then settle the batch in pieces, in random order."""
    chance = random.Random(job["seed"])
    while True:
        messages = await consumer.consume(job["batch"], POLL)
        for message in messages:
            await asyncio.sleep(WORK_SECONDS)
            log.write("did", message.message)
        for piece in _pieces(list(messages), chance):
            log.write("settles", *(message.message for message in piece))
            await consumer.on_success(piece)
            log.write("settled", *(message.message for message in piece))


def _pieces(messages: list[QueueMessage], chance: random.Random) -> Sequence[Sequence[QueueMessage]]:
    chance.shuffle(messages)
    cut = chance.randint(0, len(messages))
    return [piece for piece in (messages[:cut], messages[cut:]) if piece]


async def hold(consumer: Consumer, log: Log, job: dict[str, Any], go: Go) -> None:
    """Take so many messages, settle the last ones of them, and record that calls of the first ones begin. At the next
    word of the parent settle the rest, and report how many of these were late."""
    held: list[QueueMessage] = []
    while len(held) < job["count"]:
        held += await consumer.consume(job["count"] - len(held), POLL)
    kept = job["count"] - job["settle_last"]
    if held[kept:]:
        await consumer.on_success(held[kept:])
    if held[: job.get("begin", 0)]:
        await consumer.begin_call(held[: job["begin"]])
    log.write("holds", *(message.message for message in held))
    log.write("ready")
    await asyncio.to_thread(go)
    late = await consumer.on_success(held[:kept])
    log.write("late", str(late or 0).encode())
    # As in an engine, a settlement may take effect only in the next consume.
    await consumer.consume(0 if consumer.keep_polling else 1, POLL)


async def block(consumer: Consumer, log: Log, job: dict[str, Any], _go: Go) -> None:
    """Take a few messages, then ask for no more for a while. Log the peak of memory in KiB."""
    held: list[QueueMessage] = []
    while len(held) < job["count"]:
        held += await consumer.consume(job["count"] - len(held), POLL)
    for _ in range(10):
        if consumer.keep_polling:
            extra = await consumer.consume(0, 0.1)
            log.write("extra", *(message.message for message in extra) if extra else ())
        await asyncio.sleep(0.1)
    log.write("peak", str(peak()).encode())
    await consumer.on_fail(held)


async def send(producer: Producer, log: Log, job: dict[str, Any], _go: Go) -> None:
    """Produce numbers for ever, ten in a call. Log those that are confirmed."""
    number = job["first"]
    while True:
        records = [Record(str(each).encode()) for each in range(number, number + 10)]
        answers = await producer.produce(records)
        log.write("confirmed", *(r.message for r, error in zip(records, answers, strict=True) if error is None))
        number += 10


def peak() -> int:
    """The peak of this process's memory in KiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux a child begins with the peak of its parent, and beside that of a large test
        # run its own growth would not show.
        (line,) = (each for each in status.read_text().splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1])
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used // 1024 if sys.platform == "darwin" else used


def main(job: dict[str, Any], go: Go) -> None:
    """Open a queue and do a job with it.

    Args:
        job: `do`, a function of this module; `settings` and `role` of the queue; the arguments of the function.
        go: Waits for a word of the parent.
    """
    asyncio.run(_main(job, go))


async def _main(job: dict[str, Any], go: Go) -> None:
    log = Log(job["log"])
    queue = resolve(job["settings"], job["role"])
    connector: Any = (make_consumer if job["role"] == "input" else make_producer)(queue)
    log.write("loaded")
    await asyncio.to_thread(go)
    await connector.connect()
    log.write("base", str(peak()).encode())
    jobs: dict[str, Callable[[Any, Log, dict[str, Any], Go], Awaitable[None]]] = {
        "work": work,
        "hold": hold,
        "block": block,
        "send": send,
    }
    await jobs[job["do"]](connector, log, job, go)
    await connector.shutdown()
