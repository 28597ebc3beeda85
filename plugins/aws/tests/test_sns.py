"""The connector `sns`, on a server that has topics and queues."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from plugins.aws.tests.conftest import Opener, opened, taken
from tests.servers.sqs import AwsServer

from penstock.errors import NotConnected
from penstock.message import Record
from penstock_aws.options import SnsOptions
from penstock_aws.sns import SnsProducer

RECORDS = [
    Record(b"text", b"key", [("event_type", b"order"), ("b", b"2")]),
    Record(b"\x00\xff", None, [("a", None), ("a", b"")]),
    Record(None),
    Record(b""),
]


async def topic_with_queue(client: Any, sqs: Any, queue: str, raw: str) -> str:
    topic: str = (await client.create_topic(Name=f"topic-{queue}"))["TopicArn"]
    url = (await sqs.create_queue(QueueName=queue))["QueueUrl"]
    arn = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"]
    attributes = {"RawMessageDelivery": raw}
    await client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
    return topic


@pytest.mark.parametrize("raw", ["true", "false"])
def test_what_is_published_reaches_a_queue_as_it_was(sns_server: AwsServer, raw: str) -> None:
    """Raw, or in SNS's envelope, which the consumer opens: body, key and headers, byte for byte."""
    opener = Opener(sns_server, sns_server.queue())

    async def main() -> None:
        async with opener.raw("sns") as client, opener.raw() as sqs:
            topic = await topic_with_queue(client, sqs, opener.queue, raw)
            async with opened(SnsProducer(topic, SnsOptions(**sns_server.config()))) as producer:
                assert await producer.produce(RECORDS) == [None] * len(RECORDS)
                assert all(each.ok for each in await producer.probe())
            async with opener.consumer(unwrap_sns=raw == "false") as consumer:
                messages = await taken(consumer, len(RECORDS))
                await consumer.on_success(messages)
        found = {(message.message, message.key, tuple(message.headers)) for message in messages}
        assert found == {(record.message, record.key, tuple(record.headers)) for record in RECORDS}

    asyncio.run(main())


def test_a_topic_without_subscriptions_is_warned_of(sns_server: AwsServer, caplog: pytest.LogCaptureFixture) -> None:
    """It drops what is published; once."""
    opener = Opener(sns_server, sns_server.queue())

    async def main() -> None:
        async with opener.raw("sns") as client:
            topic = (await client.create_topic(Name=f"topic-{opener.queue}"))["TopicArn"]
            async with opened(SnsProducer(topic, SnsOptions(**sns_server.config()))) as producer:
                await producer.connect()
            with pytest.raises(NotConnected, match="NotFound"):
                async with opened(SnsProducer(f"{topic}-none", SnsOptions(**sns_server.config()))):
                    pass

    with caplog.at_level(logging.WARNING, "penstock.aws"):
        asyncio.run(main())
    assert len([record for record in caplog.records if "no subscriptions" in record.message]) == 1


def test_a_record_that_is_too_large_is_refused_and_its_neighbours_are_published(sns_server: AwsServer) -> None:
    """For good, with what AWS says."""
    opener = Opener(sns_server, sns_server.queue())

    async def main() -> None:
        async with opener.raw("sns") as client, opener.raw() as sqs:
            topic = await topic_with_queue(client, sqs, opener.queue, "true")
            async with opened(SnsProducer(topic, SnsOptions(**sns_server.config()))) as producer:
                first, large, last = await producer.produce([Record(b"1"), Record(bytes(250_000)), Record(b"2")])
        assert first is last is None
        assert large is not None
        assert not large.retriable

    asyncio.run(main())
