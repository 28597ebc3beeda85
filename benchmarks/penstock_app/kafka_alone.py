"""The same without an engine: `Queues.send_batch` and `Queues.read`.

python -m benchmarks.penstock_app.kafka_alone BOOTSTRAP SOURCE TARGET MESSAGES send|read [blocking]
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from benchmarks.clock import Clock
from benchmarks.work import Reading, readings
from penstock import BlockingQueues, Queues

BATCH = 1_000


async def send(config: dict[str, Any], messages: int) -> None:
    """All in one call, which returns when each is confirmed."""
    objects = list(readings(messages))
    async with Queues(config) as queues:
        await queues.send_batch("target", [])  # opens it
        clock = Clock()
        clock.go()
        await queues.send_batch("target", objects)
        clock.show(messages)


async def read(config: dict[str, Any], messages: int) -> None:
    """Batches of objects, settled one after the other."""
    clock, done = Clock(), 0
    async with Queues(config) as queues:
        async for batch in queues.read("source", batch=BATCH):
            clock.go()
            assert batch.objects
            done += await batch.done()
            if done >= messages:
                break
        clock.show(done)


def send_blocking(config: dict[str, Any], messages: int) -> None:
    """See `send`."""
    objects = list(readings(messages))
    with BlockingQueues(config) as queues:
        queues.send_batch("target", [])
        clock = Clock()
        clock.go()
        queues.send_batch("target", objects)
        clock.show(messages)


def read_blocking(config: dict[str, Any], messages: int) -> None:
    """See `read`."""
    clock, done = Clock(), 0
    with BlockingQueues(config) as queues:
        for batch in queues.read("source", batch=BATCH):
            clock.go()
            assert batch.objects
            done += batch.done()
            if done >= messages:
                break
        clock.show(done)


def main(bootstrap: str, source: str, target: str, messages: int, way: str, kind: str = "async") -> None:
    """Send or read `messages` messages, print the result."""
    servers = {"bootstrap.servers": bootstrap}
    config = {
        "source": {
            "connector": "kafka",
            "value": source,
            "config": servers | {"group.id": f"penstock-{target}"},
            "data_model": Reading,
        },
        "target": {"connector": "kafka", "value": target, "config": servers, "data_model": Reading},
    }
    if kind == "blocking":
        {"send": send_blocking, "read": read_blocking}[way](config, messages)
    else:
        asyncio.run({"send": send, "read": read}[way](config, messages))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), *sys.argv[5:])
