"""The shop, which knows nothing of Penstock: publishes each line of its input as a paid order."""

import asyncio
import os
import sys

import aio_pika


async def main() -> None:
    async with await aio_pika.connect(os.environ["RABBITMQ_URL"]) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("shop")
        for line in sys.stdin.buffer:
            message = aio_pika.Message(line.strip(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await exchange.publish(message, routing_key="order.paid")


asyncio.run(main())
