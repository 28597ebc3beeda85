"""A loop over Google's generated asynchronous clients, written by hand: pull, publish, acknowledge, 1,000 at a time.

python -m benchmarks.raw.pubsub ADDRESS PROJECT SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import asyncio
import sys

import grpc
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import PubsubMessage

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

AT_ONCE = 1_000


async def main(address: str, project: str, source: str, target: str, messages: int) -> None:
    """Work off `messages` messages, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    subscription, topic = f"projects/{project}/subscriptions/{source}", f"projects/{project}/topics/{target}"
    async with grpc.aio.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
        subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
        publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
        clock, done = Clock(), 0
        clock.go()
        while done < messages:
            pulled = await subscriber.pull(subscription=subscription, max_messages=AT_ONCE)
            if not pulled.received_messages:
                continue
            outputs = [PubsubMessage(data=encode(peak(decode(each.message.data)))) for each in pulled.received_messages]
            await publisher.publish(topic=topic, messages=outputs)
            await subscriber.acknowledge(
                subscription=subscription, ack_ids=[each.ack_id for each in pulled.received_messages]
            )
            done += len(outputs)
    clock.show(done)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5], int(sys.argv[5])))
