"""A consumer in a process of its own: `worker.py URL FILE BATCH [hold]`.

It writes each number that it gets to FILE, then settles it, or, with `hold`, does not.
"""

from __future__ import annotations

import asyncio
import os
import sys

from penstock_memory.consumer import MemoryConsumer
from penstock_memory.options import MemoryOptions


async def main(url: str, path: str, batch: int, settles: bool) -> None:
    seen = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    consumer = MemoryConsumer("numbers", MemoryOptions(url=url))
    await consumer.connect()
    while True:
        messages = await consumer.consume(batch, 60)
        os.write(seen, b"".join((message.message or b"?") + b"\n" for message in messages))
        if settles:
            assert await consumer.on_success(messages) == 0


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "hold" not in sys.argv))
