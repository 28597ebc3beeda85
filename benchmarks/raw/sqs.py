"""A loop over aiobotocore, written by hand: requests side by side, in batches of ten, each message deleted when its
output is confirmed.

python -m benchmarks.raw.sqs ENDPOINT SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

AT_ONCE = 10  # loops side by side, as the connector has requests


async def run(endpoint: str, source: str, target: str, messages: int) -> None:
    """Work off `messages` messages, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    config = AioConfig(max_pool_connections=3 * AT_ONCE, retries={"total_max_attempts": 1})
    async with get_session().create_client(
        "sqs", "eu-west-1", endpoint_url=endpoint, config=config,
        aws_access_key_id="test", aws_secret_access_key="test",
    ) as client:  # fmt: skip
        there = (await client.get_queue_url(QueueName=source))["QueueUrl"]
        here = (await client.get_queue_url(QueueName=target))["QueueUrl"]
        clock = Clock()
        done = 0

        async def loop() -> None:
            nonlocal done
            while done < messages:
                answer = await client.receive_message(
                    QueueUrl=there, MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=60,
                    MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"],
                )  # fmt: skip
                received: list[dict[str, Any]] = answer.get("Messages", [])
                if not received:
                    continue
                sent = [
                    {
                        "Id": str(n),
                        "MessageBody": encode(peak(decode(each["Body"]))).decode(),
                        "MessageAttributes": each.get("MessageAttributes", {}),  # the key
                    }
                    for n, each in enumerate(received)
                ]
                answer = await client.send_message_batch(QueueUrl=here, Entries=sent)
                assert not answer.get("Failed")
                handles = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(received)]
                answer = await client.delete_message_batch(QueueUrl=there, Entries=handles)
                assert not answer.get("Failed")
                done += len(received)

        clock.go()
        await asyncio.gather(*(loop() for _ in range(AT_ONCE)))
        clock.show(messages)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:4], int(sys.argv[4])))
