"""What SQS does that a reader of its API would not expect, on a server that speaks SQS."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Any

import pytest

from penstock.message import Record
from penstock_aws import consumer as consumer_module


def test_a_cancelled_long_poll_of_the_plain_client_swallows_a_message(opener: Any) -> None:
    """This is the surprise: the next message is in flight, and nobody has it."""

    async def main() -> None:
        async with opener.producer() as producer, opener.raw() as client:
            url = (await client.get_queue_url(QueueName=opener.queue))["QueueUrl"]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await client.receive_message(QueueUrl=url, WaitTimeSeconds=20)
            await producer.produce([Record(b"swallowed")])
            counts = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            assert int(counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"]) == 1
            assert not (await client.receive_message(QueueUrl=url, WaitTimeSeconds=1)).get("Messages")

    asyncio.run(main())


def test_a_look_that_ends_before_its_long_poll_loses_no_message(opener: Any, consumed: Any) -> None:
    """SQS's cancelled long poll: the connector's is not cancelled, and the next look gets what it brings, once."""

    async def main() -> None:
        async with opener.consumer(wait_time=10) as consumer, opener.producer() as producer:
            began = monotonic()
            assert await consumer.consume(10, 0.5) == []
            assert monotonic() - began < 5
            await producer.produce([Record(b"1")])
            messages = await consumed(consumer, 1)
            assert [(m.message, m.attempts) for m in messages] == [(b"1", 1)]
            assert await consumer.on_success(messages) == 0

    asyncio.run(main())


def test_a_stop_waits_for_its_long_poll_and_gives_back_what_it_brings(opener: Any, consumed: Any) -> None:
    """The next worker has the message at once, long before a lease of the stopped one would end."""

    async def main() -> None:
        async with opener.producer() as producer:
            async with opener.consumer(visibility_timeout=600, wait_time=5) as consumer:
                assert await consumer.consume(10, 0.2) == []
                stopping = asyncio.create_task(consumer.shutdown())
                await producer.produce([Record(b"late")])
                await stopping
            async with opener.consumer() as consumer:
                messages = await consumed(consumer, 1)
                assert messages[0].message == b"late"
                await consumer.on_success(messages)

    asyncio.run(main())


def test_what_the_clock_says_is_lost_is_not_deleted(opener: Any, consumed: Any) -> None:
    """SQS may take the deletion of a delivery that has ended; the connector never sends it."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(visibility_timeout=4) as first:
            await producer.produce([Record(b"1")])
            old = await consumed(first, 1)
            async with opener.consumer(visibility_timeout=60) as second:
                new = await consumed(second, 1)
                assert new[0].attempts == 2
                assert await first.on_success(old) == 1
                assert await first.on_fail(old) == 1
                await first.extend(old)
                assert await second.on_success(new) == 0

    asyncio.run(main())


def test_a_lease_is_not_extended_beyond_what_sqs_allows(
    opener: Any, consumed: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """12 hours on AWS, some seconds here: the last extension is shorter, then the message comes again."""
    monkeypatch.setattr(consumer_module, "LONGEST", 8)

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(visibility_timeout=5) as consumer:
            await producer.produce([Record(b"1")])
            messages = await consumed(consumer, 1)
            began = messages[0].asked
            while monotonic() - began < 8.5:
                await consumer.extend(messages)
                await asyncio.sleep(0.5)
            assert await consumer.on_success(messages) == 1
            again = await consumed(consumer, 1)
            assert again[0].attempts == 2
            await consumer.on_success(again)

    asyncio.run(main())
    assert "SQS ends each lease after 12 hours" in caplog.text


def test_a_redrive_policy_is_said_at_the_start(opener: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with the number of deliveries and the queue that gets the message."""

    async def main() -> None:
        async with opener.producer(), opener.raw() as client:
            url = (await client.get_queue_url(QueueName=opener.queue))["QueueUrl"]
            dead = (await client.create_queue(QueueName=f"{opener.queue}-dead"))["QueueUrl"]
            arn = (await client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"]))["Attributes"][
                "QueueArn"
            ]
            policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 3}}'
            await client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
            async with opener.consumer() as consumer:
                await consumer.connect()

    with caplog.at_level(logging.WARNING, "penstock.aws"):
        asyncio.run(main())
    said = [record.message for record in caplog.records if "moves a message" in record.message]
    assert len(said) == 1
    assert "after 3 deliveries" in said[0]
    assert f"{opener.queue}-dead" in said[0]


def test_a_record_that_is_sent_again_is_stored_once_on_a_fifo_queue(fifo: Any, consumed: Any) -> None:
    """The same record has the same deduplication id until it is confirmed; another record of the same body has not."""

    async def main() -> None:
        async with fifo.producer() as producer, fifo.consumer() as consumer:
            record = Record(b"1", b"key")
            entry = producer._sender._entry(record)
            url = {"Entries": [{"Id": "0", **entry}]}
            await producer._queue.call("send_message_batch", **url)  # stored; and then its answer is lost
            assert not any(await producer.produce([record]))
            assert not any(
                await producer.produce([Record(b"1", b"key"), Record(b"2", b"key", options={"deduplication_id": "x"})])
            )
            assert not any(await producer.produce([Record(b"3", b"key", options={"deduplication_id": "x"})]))
            seen: list[Any] = []
            for _ in range(3):
                messages = await consumed(consumer, 1)
                await consumer.on_success(messages)
                seen += messages
            assert [message.message for message in seen] == [b"1", b"1", b"2"]
            assert {message.key for message in seen} == {b"key"}
            assert await consumer.consume(10, 1.5) == []

    asyncio.run(main())
