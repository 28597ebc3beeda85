"""Loops over Azure's own asynchronous clients, written by hand: receive some, send their results, settle them.

python -m benchmarks.raw.azure CONNECTION_STRING SOURCE TARGET MESSAGES servicebus|storage_queue
"""

from __future__ import annotations

import asyncio
import sys
from base64 import b64decode, b64encode

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

AT_ONCE = 16  # requests to a Storage Queue that are under way
LEASE = 60  # seconds

decode = Reading.__pydantic_validator__.validate_json
encode = Peak.__pydantic_serializer__.to_json


async def servicebus(connection: str, source: str, target: str, messages: int) -> None:
    """Batches of what is there; a settlement has the service's answer."""
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusClient

    client = ServiceBusClient.from_connection_string(connection)
    async with client, client.get_queue_receiver(source) as receiver, client.get_queue_sender(target) as sender:
        clock, done = Clock(), 0
        while done < messages:
            received = await receiver.receive_messages(200, 5)
            clock.go()
            await sender.send_messages(
                [ServiceBusMessage(encode(peak(decode(b"".join(message.body))))) for message in received]
            )
            await asyncio.gather(*(receiver.complete_message(message) for message in received))
            done += len(received)
        clock.show(messages)


async def storage_queue(connection: str, source: str, target: str, messages: int) -> None:
    """A request for each send and each deletion, several at a time."""
    from azure.storage.queue.aio import QueueClient

    here = QueueClient.from_connection_string(connection, target)
    room = asyncio.Semaphore(AT_ONCE)
    async with QueueClient.from_connection_string(connection, source) as there, here:

        async def work(message: object) -> None:
            async with room:
                body = encode(peak(decode(b64decode(message.content))))  # type: ignore[attr-defined]
                await here.send_message(b64encode(body).decode(), time_to_live=-1)
                await there.delete_message(message)  # type: ignore[arg-type]

        clock, done = Clock(), 0
        while done < messages:
            pages = there.receive_messages(messages_per_page=32, max_messages=128, visibility_timeout=LEASE)
            received = [message async for message in pages]
            clock.go()
            await asyncio.gather(*map(work, received))
            done += len(received)
        clock.show(messages)


if __name__ == "__main__":
    loop = {"servicebus": servicebus, "storage_queue": storage_queue}[sys.argv[5]]
    asyncio.run(loop(*sys.argv[1:4], int(sys.argv[4])))
