"""Loops over redis-py's asynchronous client, written by hand: 500 messages a round trip, settled after their outputs.

python -m benchmarks.raw.redis HOST PORT SOURCE TARGET MESSAGES streams|lists
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from redis.asyncio import Redis

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

AT_ONCE = 500
GROUP, WORKER = "raw", "raw-1"


async def streams(client: Any, source: str, target: str, messages: int) -> None:
    """XREADGROUP, XADD, XACK."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    await client.xgroup_create(source, GROUP, "0", mkstream=True)
    clock = Clock()
    clock.go()
    done = 0
    while done < messages:
        [[_, entries]] = await client.xreadgroup(GROUP, WORKER, {source: ">"}, count=AT_ONCE, block=1000)
        async with client.pipeline(transaction=False) as pipe:
            for _, fields in entries:
                pipe.xadd(target, {"body": encode(peak(decode(fields[b"body"])))})
            await pipe.execute()
        await client.xack(source, GROUP, *(entry for entry, _ in entries))
        done += len(entries)
    clock.show(messages)


async def lists(client: Any, source: str, target: str, messages: int) -> None:
    """LMOVE into a list of this worker's own, RPUSH, LREM."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    clock = Clock()
    clock.go()
    done = 0
    while done < messages:
        async with client.pipeline(transaction=False) as pipe:
            for _ in range(AT_ONCE):
                pipe.lmove(source, WORKER, "LEFT", "RIGHT")
            bodies = [body for body in await pipe.execute() if body is not None]
        await client.rpush(target, *(encode(peak(decode(body))) for body in bodies))
        async with client.pipeline(transaction=False) as pipe:
            for body in bodies:
                pipe.lrem(WORKER, 1, body)
            await pipe.execute()
        done += len(bodies)
    clock.show(messages)


async def main(host: str, port: str, source: str, target: str, messages: int, kind: str) -> None:
    """Work off `messages` messages, print the result."""
    async with Redis(host=host, port=int(port)) as client:
        await {"streams": streams, "lists": lists}[kind](client, source, target, messages)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5], int(sys.argv[5]), sys.argv[6]))
