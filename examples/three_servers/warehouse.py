"""The warehouse, which knows nothing of Penstock either: prints so many shipments, then ends."""

import asyncio
import json
import os
import sys

from aiobotocore.session import get_session


async def main(count: int) -> None:
    async with get_session().create_client("sqs", region_name=os.environ["AWS_REGION"]) as sqs:
        queue = (await sqs.get_queue_url(QueueName=os.environ.get("SHIPMENTS_QUEUE", "shipments.fifo")))["QueueUrl"]
        while count > 0:
            answer = await sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=count, WaitTimeSeconds=5)
            for message in answer.get("Messages", []):
                shipment = json.loads(message["Body"])
                print(f"order {shipment['order']} goes to {shipment['city']}")
                await sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                count -= 1


asyncio.run(main(int(sys.argv[1])))
