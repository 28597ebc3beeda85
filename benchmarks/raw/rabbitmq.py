"""A consumer of aio-pika, written by hand: publish with confirmation, then acknowledge, many at a time.

python -m benchmarks.raw.rabbitmq HOST PORT SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import asyncio
import sys

import aio_pika

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

PREFETCH = 500


async def work(host: str, port: str, source: str, target: str, messages: int) -> None:
    """Work off `messages` messages, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    clock, done, all_done = Clock(), 0, asyncio.Event()
    async with await aio_pika.connect(host=host, port=int(port)) as connection:
        there, here = await connection.channel(), await connection.channel(on_return_raises=True)
        await there.set_qos(prefetch_count=PREFETCH)
        queue = await there.get_queue(source)
        await here.declare_queue(target, durable=True, arguments={"x-queue-type": "quorum"})

        async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            nonlocal done
            clock.go()
            body = encode(peak(decode(message.body)))
            out = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await here.default_exchange.publish(out, target, mandatory=True)
            await message.ack()
            done += 1
            if done == messages:
                all_done.set()

        await queue.consume(on_message)
        await all_done.wait()
        await there.get_queue(source)  # the server has the acknowledgements by then
        clock.show(messages)


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:5], int(sys.argv[5])))
