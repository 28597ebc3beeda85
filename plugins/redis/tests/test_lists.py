"""Lists beside other programs, raw lists, and what a list keeps beside itself."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from penstock.message import Record


def records(count: int) -> list[Record]:
    return [Record(b"%d" % number) for number in range(count)]


def test_programs_that_use_lpush_and_brpop_share_the_list(opener: Any, consumed: Any, raw: Any) -> None:
    """`take_from: right` is their direction; equal bodies are two messages."""

    async def main() -> None:
        raw.lpush(opener.queue, "first", "same", "same")
        right = {"take_from": "right"}
        async with opener.consumer("lists", **right) as consumer, opener.producer("lists", **right) as producer:
            messages = await consumed(consumer, 3)
            assert [message.message for message in messages] == [b"first", b"same", b"same"]
            assert await consumer.on_success(messages[:2]) == 0
            await consumer.on_fail(messages[2:])
            assert [m.message for m in await consumed(consumer, 1)] == [b"same"]
            await producer.produce(records(2))
            assert [raw.brpop(opener.queue)[1] for _ in range(2)] == [b"0", b"1"]

    asyncio.run(main())


def test_nothing_stays_beside_a_list_when_all_is_settled(opener: Any, consumed: Any, raw: Any) -> None:
    """But the number of the last message."""

    async def main() -> None:
        async with opener.producer("lists") as producer, opener.consumer("lists") as consumer:
            await producer.produce([*records(5), Record(b"late", delay=0.1)])
            first = await consumed(consumer, 6)
            await consumer.on_fail(first[:3])
            await consumer.on_success([*first[3:], *await consumed(consumer, 3)])
        keys = {key.decode(): raw.type(key) for key in raw.scan_iter(f"*{opener.queue}*")}
        assert keys == {f"{{{opener.queue}}}:penstock:taken": b"hash"}
        assert raw.hgetall(f"{{{opener.queue}}}:penstock:taken") == {b"taken": b"6"}

    asyncio.run(main())


def test_raw_takes_as_lpop_does_and_says_what_it_loses(
    opener: Any, consumed: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails, and what a worker holds when it stops, goes back to where it was taken, for any program."""

    async def main() -> None:
        async with opener.producer("lists") as producer:
            await producer.produce(records(6))
        async with opener.consumer("lists", raw=True) as consumer:
            held = await consumed(consumer, 5)
            assert await consumer.on_success(held[:1]) == 0
            assert await consumer.on_fail(held[1:3]) == 0
            assert raw.lrange(opener.queue, 0, -1) == [b"1", b"2", b"5"]
            assert [message.message for message in await consumed(consumer, 1)] == [b"1"]
        assert raw.lrange(opener.queue, 0, -1) == [b"3", b"4", b"1", b"2", b"5"]

    with caplog.at_level(logging.WARNING, "penstock.redis"):
        asyncio.run(main())

    assert "a worker that is killed loses" in caplog.text


def test_the_lease_and_the_count_are_kept_by_the_server(opener: Any, consumed: Any) -> None:
    """A worker that hangs loses its messages to another one, and settles nothing afterwards."""

    async def main() -> None:
        async with opener.producer("lists") as producer:
            await producer.produce(records(3))
        async with opener.consumer("lists", lease=0.3) as slow, opener.consumer("lists") as other:
            held = await consumed(slow, 3)
            taken = await consumed(other, 3)
            assert {(message.attempts, message.abandoned) for message in taken} == {(2, 1)}
            assert await slow.on_success(held) == 3
            assert await other.on_success(taken) == 0

    asyncio.run(main())
