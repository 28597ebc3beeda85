"""A network of 40 ms a round trip, twenty messages in work at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.servers.proxy import Proxy

from penstock.message import QueueMessage, Record
from penstock_nats.consumer import NatsConsumer
from penstock_nats.options import NatsOptions
from penstock_nats.producer import NatsProducer

if TYPE_CHECKING:
    from tests.servers.nats import NatsServer

MESSAGES = 80
LEASE = 9.0  # seconds; the messages wait for longer than that


def test_leases_hold_on_a_slow_network(nats_server: NatsServer, proxy: Callable[..., Proxy]) -> None:
    """Each message is worked on once, and none is late, although they wait for longer than a lease."""
    slow, queue = proxy(nats_server.host, nats_server.port), nats_server.queue()
    slow.delay(0.02)
    options = NatsOptions(servers=f"nats://127.0.0.1:{slow.port}", ack_wait=LEASE)

    async def main() -> None:
        producer, consumer = NatsProducer(queue, options), NatsConsumer(queue, options)
        try:
            await producer.connect()
            await consumer.connect()
            bodies = [b"%d" % number for number in range(MESSAGES)]
            assert not any(await producer.produce([Record(body) for body in bodies]))
            held: list[QueueMessage] = []
            async with asyncio.timeout(60):
                while len(held) < MESSAGES:
                    held += await consumer.consume(MESSAGES - len(held), 1.0)
            seen, late, waiting = [message.message for message in held], 0, list(held)

            async def extend() -> None:
                while True:
                    await consumer.extend(held)
                    await asyncio.sleep(LEASE / 3)

            async def work() -> None:
                nonlocal late
                while waiting:
                    message = waiting.pop()
                    await asyncio.sleep(2.5)
                    late += await consumer.on_success([message]) or 0
                    held.remove(message)

            extending = asyncio.create_task(extend())
            await asyncio.gather(*(work() for _ in range(20)))
            extending.cancel()
            with suppress(asyncio.CancelledError):
                await extending
            assert sorted(seen) == sorted(bodies)
            assert late == 0
            assert await consumer.lag() == 0
        finally:
            await producer.shutdown()
            await consumer.shutdown()

    asyncio.run(main())
