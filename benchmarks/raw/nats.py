"""A loop over nats-py, written by hand: fetch 500, publish them at once, then wait for each acknowledgement.

python -m benchmarks.raw.nats URL SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import asyncio
import sys

import nats

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

AT_ONCE = 500


async def main(url: str, source: str, target: str, messages: int) -> None:
    """Work off `messages` messages, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    client = await nats.connect(url)
    jetstream = client.jetstream(timeout=60)
    subscription = await jetstream.pull_subscribe(source, durable="raw")
    clock, done = Clock(), 0
    clock.go()
    while done < messages:
        fetched = await subscription.fetch(min(AT_ONCE, messages - done), timeout=5)
        outputs = [encode(peak(decode(message.data))) for message in fetched]
        await asyncio.gather(*(jetstream.publish(target, body) for body in outputs))
        await asyncio.gather(*(message.ack_sync(timeout=60) for message in fetched))
        done += len(fetched)
    clock.show(done)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
