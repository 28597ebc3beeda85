"""A loop over aiohttp, written by hand: a page, the work, a request for each output, and the place stored behind it.

python -m benchmarks.raw.http SOURCE TARGET FILE MESSAGES
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid

import aiohttp

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

CONCURRENCY = 10


def store(place: str, url: str) -> None:
    """Where to go on, so that a crash leaves the old or the new place."""
    with open(f"{place}.new", "w") as file:
        json.dump({"url": url}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{place}.new", place)


async def main(source: str, target: str, place: str, messages: int) -> None:
    """Work off `messages` items, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    clock, done, room = Clock(), 0, asyncio.Semaphore(CONCURRENCY)
    url = f"{source}?plain=1"

    async with aiohttp.ClientSession() as session:

        async def send(body: bytes) -> None:
            async with room, session.post(target, data=body, headers={"Idempotency-Key": str(uuid.uuid4())}) as answer:
                answer.raise_for_status()
                await answer.read()

        clock.go()
        while done < messages:
            async with session.get(url) as answer:
                items = json.loads(await answer.read())
                url = str(answer.links["next"]["url"])
            outputs = [encode(peak(decode(json.dumps(item)))) for item in items]
            await asyncio.gather(*map(send, outputs))
            store(place, url)
            done += len(items)
    clock.show(done)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
