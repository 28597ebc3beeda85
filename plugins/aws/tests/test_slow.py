"""A network of 40 ms a round trip, twenty messages in work at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.servers.proxy import Proxy
from tests.servers.sqs import AwsServer

from penstock.message import Record

MESSAGES = 100


def test_leases_hold_on_a_slow_network(opener: Any, sqs_server: AwsServer, proxy: Callable[..., Proxy]) -> None:
    """Each message is worked on once, and none is late, although they wait for longer than a lease."""
    slow = proxy(sqs_server.host, sqs_server.port)
    slow.delay(0.02)

    async def main() -> None:
        async with opener.producer() as producer:
            assert not any(await producer.produce([Record(b"%d" % number) for number in range(MESSAGES)]))
        where = {"endpoint_url": f"http://127.0.0.1:{slow.port}", "visibility_timeout": 9}
        async with opener.consumer(**where) as consumer:
            held: list[Any] = []
            while len(held) < MESSAGES:
                held += await consumer.consume(MESSAGES - len(held), 1.0)
            seen, late, waiting = [message.message for message in held], 0, list(held)

            async def extend() -> None:
                while True:
                    await consumer.extend(held)
                    await asyncio.sleep(3)

            async def work() -> None:
                nonlocal late
                while waiting:
                    message = waiting.pop()
                    await asyncio.sleep(2.5)
                    late += await consumer.on_success([message])
                    held.remove(message)

            extending = asyncio.create_task(extend())
            await asyncio.gather(*(work() for _ in range(20)))
            extending.cancel()
            with suppress(asyncio.CancelledError):
                await extending
            assert sorted(seen) == sorted(b"%d" % number for number in range(MESSAGES))
            assert late == 0
            assert await consumer.lag() == 0

    asyncio.run(main())
