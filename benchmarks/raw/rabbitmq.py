"""A consumer of aio-pika, written by hand: what is there is published at once, confirmed, then acknowledged together.

python -m benchmarks.raw.rabbitmq HOST PORT SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import asyncio
import sys
from uuid import uuid4

import aio_pika
from pamqp.commands import Basic

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

PREFETCH = 500


async def work(host: str, port: str, source: str, target: str, messages: int) -> None:
    """Work off `messages` messages, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    clock, done = Clock(), 0
    async with await aio_pika.connect(host=host, port=int(port)) as connection:
        there, here = await connection.channel(), await connection.channel(on_return_raises=True)
        await there.set_qos(prefetch_count=PREFETCH)
        queue = await there.get_queue(source)
        await here.declare_queue(target, durable=True, arguments={"x-queue-type": "quorum"})

        out = await here.get_underlay_channel()
        arrived: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()

        async def send(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            body, properties = (
                encode(peak(decode(message.body))),
                Basic.Properties(delivery_mode=2, message_id=uuid4().hex),
            )
            # Not `Exchange.publish`, which waits for the socket after each message.
            await out.basic_publish(body, routing_key=target, properties=properties, mandatory=True, wait=False)

        await queue.consume(arrived.put)
        while done < messages:
            received = [await arrived.get()]
            clock.go()
            while not arrived.empty() and len(received) < PREFETCH // 2:  # the other half is on its way meanwhile
                received.append(arrived.get_nowait())
            await asyncio.gather(*map(send, received))
            await received[-1].ack(multiple=True)
            done += len(received)
        await there.get_queue(source)  # the server has the acknowledgements by then
        clock.show(messages)


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:5], int(sys.argv[5])))
