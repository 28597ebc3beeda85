"""Sending: bulks, delays, limits, and records that are rejected one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from rsmq import RedisSMQ

from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record


def test_a_bulk_larger_than_one_script_call_is_stored_whole_and_in_order(opener: Any, consumed: Any) -> None:
    """1,234 records, one call."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            assert await producer.produce([Record(b"%d" % i) for i in range(1234)]) == [None] * 1234
            messages = await consumed(consumer, 1234, at_once=2000)
            assert [int(m.message) for m in messages] == list(range(1234))

    asyncio.run(main())


def test_each_record_has_its_own_delay(opener: Any, consumed: Any) -> None:
    """In one bulk: now, after 0.2 s, after 0.5 s."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            started = time.monotonic()
            records = [Record(b"0.5", delay=0.5), Record(b"0"), Record(b"0.2", options={"delay": 0.2})]
            assert not any(await producer.produce(records))
            for delay in (0.0, 0.2, 0.5):
                (message,) = await consumed(consumer, 1)
                assert float(message.message) == delay
                assert time.monotonic() - started >= delay - 0.01

    asyncio.run(main())


def test_the_queues_own_delay_holds_unless_another_is_set(opener: Any, pyrsmq: RedisSMQ) -> None:
    """The attribute of the queue, unless `delay` stands in the config, be it 0."""
    pyrsmq.createQueue(delay=60).execute()

    async def main() -> None:
        async with opener.consumer() as consumer:
            async with opener.producer() as producer:
                assert not any(await producer.produce([Record(b"held")]))
            assert await consumer.lag() == 0
            async with opener.producer(delay=0) as producer:
                assert not any(await producer.produce([Record(b"now")]))
            assert await consumer.lag() == 1

    asyncio.run(main())


def test_a_body_over_maxsize_is_rejected_and_the_others_go_through(
    opener: Any, pyrsmq: RedisSMQ, consumed: Any
) -> None:
    """The limit is an attribute of the queue, whichever client created it, and counts bytes."""
    pyrsmq.createQueue(maxsize=1024).execute()

    async def main() -> list[ProduceError | None]:
        async with opener.producer() as producer, opener.consumer() as consumer:
            sizes = (1024, 1025, 0, 5000)
            results: list[ProduceError | None] = await producer.produce([Record(b"x" * size) for size in sizes])
            assert [len(m.message) for m in await consumed(consumer, 2)] == [1024, 0]
            return results

    fits, over, empty, far_over = asyncio.run(main())

    assert (fits, empty) == (None, None)
    for error, size in ((over, 1025), (far_over, 5000)):
        assert error is not None
        assert error.retriable is False
        assert f"{size} bytes" in str(error)
        assert "1024" in str(error)
    assert pyrsmq.getQueueAttributes().execute()["totalsent"] == 2


def test_what_rsmq_cannot_store_is_rejected_one_by_one(opener: Any, consumed: Any) -> None:
    """A null body and an unknown option; the record between them is stored."""

    async def main() -> Sequence[ProduceError | None]:
        async with opener.output_queue() as output, opener.consumer() as consumer:
            records = [
                Record(None, options={"encode": True}),
                Record(b"fine", options={"quiet": True}),
                Record(b"x", options={"partition": 3}),
            ]
            results: Sequence[ProduceError | None] = await output.produce(records)
            assert [m.message for m in await consumed(consumer, 1)] == [b"fine"]
            async with opener.producer() as producer:
                (null,) = await producer.produce([Record(None)])
            return [*results, null]

    encode, fine, option, null = asyncio.run(main())

    assert fine is None
    assert null is not None
    assert option is not None
    assert encode is not None
    assert (null.retriable, option.retriable, encode.retriable) == (False, False, False)
    assert "partition" in str(option)


def test_a_full_server_refuses_for_now_and_can_be_drained(own_redis: Any, opener: Any, consumed: Any) -> None:
    """At maxmemory sending is refused, retriable; receiving, extending, requeuing and deleting go on."""
    server = own_redis()

    async def main() -> None:
        with redis.Redis(host=server.host, port=server.port) as admin:
            where = {"host": server.host, "port": server.port}
            async with opener.producer(**where) as producer, opener.consumer(**where) as consumer:
                assert not any(await producer.produce([Record(b"x") for _ in range(3)]))
                admin.config_set("maxmemory", 1)
                (refused,) = await producer.produce([Record(b"one too many")])
                assert refused is not None
                assert refused.retriable is True
                messages = await consumed(consumer, 3)
                await consumer.extend(messages)
                await consumer.on_fail(messages[:1])
                assert await consumer.on_success(messages[1:]) == 0
                admin.config_set("maxmemory", 0)
                assert await producer.produce([Record(b"again")]) == [None]
                assert {m.message for m in await consumed(consumer, 2)} == {b"x", b"again"}

    asyncio.run(main())


def test_after_shutdown_nothing_is_sent(opener: Any) -> None:
    """A call after the end is a mistake and named as one."""

    async def main() -> None:
        async with opener.producer() as producer:
            pass
        with pytest.raises(ConnectorError, match="closed"):
            await producer.produce([Record(b"x")])

    asyncio.run(main())
