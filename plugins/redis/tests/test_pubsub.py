"""Pub/Sub is at most once: it says so, loses nothing else than that, and counts what it loses."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from penstock.errors import NotConnected
from penstock.message import Record


def records(count: int) -> list[Record]:
    return [Record(b"%d" % number) for number in range(count)]


def test_what_is_published_while_it_is_subscribed_comes_in_order(opener: Any, consumed: Any) -> None:
    """All of it; `connect` returns when the subscription is confirmed."""

    async def main() -> None:
        async with opener.consumer("pubsub") as consumer, opener.producer("pubsub") as producer:
            assert not any(await producer.produce(records(1200)))
            messages = await consumed(consumer, 1200)
            assert [message.message for message in messages] == [record.message for record in records(1200)]
            assert messages[0].message_context == opener.queue
            assert await consumer.consume(1, 0) == []

    asyncio.run(main())


def test_channels_and_patterns(opener: Any, consumed: Any, raw: Any) -> None:
    """With commas between them; the message says from which channel it came."""
    name = opener.queue

    async def main() -> None:
        async with (
            opener.consumer("pubsub", queue=f"{name}.a, {name}.b") as by_name,
            opener.consumer("pubsub", queue=f"{name}.*", patterns=True) as by_pattern,
        ):
            for channel in "abc":
                raw.publish(f"{name}.{channel}", channel)
            assert [m.message for m in await consumed(by_name, 2)] == [b"a", b"b"]
            assert [m.message_context for m in await consumed(by_pattern, 3)] == [f"{name}.{c}" for c in "abc"]

    asyncio.run(main())


def test_at_most_once_is_said_at_the_start(opener: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Once for each queue."""

    async def main() -> None:
        async with opener.consumer("pubsub"):
            pass

    with caplog.at_level(logging.WARNING, "penstock.redis"):
        asyncio.run(main())

    assert [record.message for record in caplog.records if "at most once" in record.message] != []


def test_gaps_are_counted(
    redis_server: Any, proxy: Any, opener: Any, consumed: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The client does not subscribe again in silence: the loss is an error, then a line with a number."""
    wire = proxy(redis_server.host, redis_server.port)

    async def main() -> None:
        async with opener.consumer("pubsub", host=wire.host, port=wire.port, timeout=2.0) as consumer:
            for gap in (1, 2):
                raw.publish(opener.queue, "before")
                assert len(await consumed(consumer, 1)) == 1
                wire.reset()
                with pytest.raises(NotConnected):
                    await consumer.consume(1, 10.0)
                raw.publish(opener.queue, "missed")
                await consumer.connect()
                assert consumer.gaps == gap
            raw.publish(opener.queue, "after")
            assert [message.message for message in await consumed(consumer, 1)] == [b"after"]

    with caplog.at_level(logging.WARNING, "penstock.redis"):
        asyncio.run(main())

    assert "gap 1" in caplog.text
    assert "gap 2" in caplog.text


def test_a_connection_that_says_nothing_is_noticed(redis_server: Any, proxy: Any, opener: Any) -> None:
    """A dead one looks like a channel on which nothing is published; pings tell them apart."""
    wire = proxy(redis_server.host, redis_server.port)

    async def main() -> None:
        async with opener.consumer("pubsub", host=wire.host, port=wire.port, timeout=0.5) as consumer:
            assert await consumer.consume(1, 2.0) == []  # quiet, and alive
            wire.half_open()
            with pytest.raises(NotConnected):
                await consumer.consume(1, 20.0)

    asyncio.run(main())


def test_what_does_not_fit_into_the_buffer_is_dropped_and_counted(
    opener: Any, consumed: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker without room goes on reading, so that the server does not disconnect it."""

    async def main() -> None:
        async with opener.consumer("pubsub", buffer=10) as consumer, opener.producer("pubsub") as producer:
            await producer.produce(records(30))
            async with asyncio.timeout(10):
                while consumer.dropped < 20:
                    await asyncio.sleep(0.01)
            assert [m.message for m in await consumed(consumer, 10)] == [b"%d" % number for number in range(10)]
            await producer.produce(records(1))
            assert len(await consumed(consumer, 1)) == 1

    with caplog.at_level(logging.WARNING, "penstock.redis"):
        asyncio.run(main())

    assert "20 messages were dropped" in caplog.text


def test_what_fails_comes_again_from_memory(opener: Any, consumed: Any) -> None:
    """First, with one attempt more, as a fresh copy."""

    async def main() -> None:
        async with opener.consumer("pubsub") as consumer, opener.producer("pubsub") as producer:
            await producer.produce(records(3))
            first = await consumed(consumer, 2)
            first[0].message = b"edited"
            await consumer.on_fail(first)
            again = await consumed(consumer, 3)
            assert [(m.message, m.attempts) for m in again] == [(b"0", 2), (b"1", 2), (b"2", 1)]
            await consumer.on_success(again)

    asyncio.run(main())


def test_a_message_without_a_subscriber_may_be_refused(opener: Any) -> None:
    """For now, so that the engine sends it again; by default it is as good as sent."""

    async def main() -> None:
        async with opener.producer("pubsub") as carefree:
            assert await carefree.produce(records(2)) == [None, None]
        async with opener.producer("pubsub", require_subscriber=True) as producer:
            answers = await producer.produce(records(2))
            assert all(answer is not None and answer.retriable for answer in answers)
            async with opener.consumer("pubsub"):
                assert await producer.produce(records(2)) == [None, None]

    asyncio.run(main())


def test_a_shutdown_leaves_nothing_and_counts_what_it_drops(
    opener: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No subscription stays on the server."""

    async def main() -> None:
        async with opener.consumer("pubsub", timeout=0.5) as consumer:
            raw.publish(opener.queue, "x")
            async with asyncio.timeout(10):
                while not consumer._buffer:
                    await asyncio.sleep(0.01)
        await consumer.shutdown()
        async with asyncio.timeout(10):
            while raw.pubsub_numsub(opener.queue)[0][1]:
                await asyncio.sleep(0.01)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    with caplog.at_level(logging.WARNING, "penstock.redis"):
        asyncio.run(main())

    assert "1 messages in the buffer are lost" in caplog.text
