"""FIFO queues keep the order of each key, as their capabilities declare, on a server that speaks SQS.

A message in flight holds up its key; the kit holds one of each key, so what several of a key do is tested here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from penstock.connectors import Consumer
from penstock.message import QueueMessage, Record

KEYS = 4
COUNT = 24
IN_ORDER = {b"key-%d" % key: [*range(key, COUNT, KEYS)] for key in range(KEYS)}


async def fill(opener: Any) -> None:
    """Messages 0 to 23, in two calls; each fourth one has the same key."""
    records = [Record(b"%d" % number, b"key-%d" % (number % KEYS)) for number in range(COUNT)]
    async with opener.producer() as producer:
        for some in (records[:15], records[15:]):
            assert await producer.produce(some) == [None] * len(some)


async def settle(consumer: Consumer, count: int) -> list[QueueMessage]:
    """Take and settle so many messages, a few at a time, as an engine does."""
    done: list[QueueMessage] = []
    async with asyncio.timeout(60):
        while len(done) < count:
            messages = await consumer.consume(min(7, count - len(done)), 1.0)
            assert await consumer.on_success(messages) == 0
            done += messages
    return done


def by_key(messages: Sequence[QueueMessage]) -> dict[bytes | None, list[int]]:
    """The numbers of messages, in the order in which they came."""
    numbers: dict[bytes | None, list[int]] = defaultdict(list)
    for message in messages:
        numbers[message.key].append(int(message.message or b"-1"))
    return numbers


def test_messages_of_a_key_keep_their_order_after_a_requeue(fifo: Any, consumed: Any) -> None:
    """The first ones are requeued, the last first, and come again before later ones of their keys."""

    async def main() -> None:
        await fill(fifo)
        async with fifo.consumer(visibility_timeout=60) as consumer:
            for message in reversed(await consumed(consumer, KEYS)):
                assert await consumer.on_fail([message]) == 0
            assert by_key(await settle(consumer, COUNT)) == IN_ORDER

    asyncio.run(main())


def test_what_a_closed_consumer_left_comes_before_later_messages_of_its_key(fifo: Any, consumed: Any) -> None:
    """At once, long before its lease would have ended."""

    async def main() -> None:
        await fill(fifo)
        async with fifo.consumer(visibility_timeout=600) as consumer:
            first = await consumed(consumer, KEYS)
            await consumer.on_success(first[:1])
        async with fifo.consumer(visibility_timeout=60) as consumer:
            rest = await settle(consumer, COUNT - 1)
        assert by_key([*first[:1], *rest]) == IN_ORDER

    asyncio.run(main())


def test_a_message_in_flight_holds_up_its_key_alone(fifo: Any, consumed: Any) -> None:
    """All messages of other keys pass it; those of its key come when it is settled."""

    async def main() -> None:
        await fill(fifo)
        async with fifo.consumer(visibility_timeout=60, receives=1) as consumer:
            (held,) = await consumed(consumer, 1)
            others = await settle(consumer, COUNT - COUNT // KEYS)
            assert by_key(others) == {key: numbers for key, numbers in IN_ORDER.items() if key != held.key}
            assert not await consumer.consume(1, 0.0)
            assert await consumer.on_success([held]) == 0
            rest = await settle(consumer, COUNT // KEYS - 1)
            assert by_key([held, *rest]) == {held.key: IN_ORDER[held.key]}

    asyncio.run(main())
