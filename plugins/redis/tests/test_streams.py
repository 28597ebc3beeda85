"""What is easily lost or doubled on Redis Streams: each on a real server, by its name."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest
import redis

from penstock.errors import ConnectorError, NotConnected
from penstock.message import Record
from penstock_redis.streams.consumer import StreamConsumer

DEAD = 0.3  # seconds of a lease that is not extended


def records(count: int) -> list[Record]:
    return [Record(b"%d" % number) for number in range(count)]


def test_redis_pys_hidden_retry_of_a_blocking_read_is_off(
    redis_server: Any, proxy: Any, opener: Any, consumed: Any, raw: Any
) -> None:
    """A read whose answer is lost is sent once and noticed, and what it was given comes again when it is connected."""
    wire = proxy(redis_server.host, redis_server.port)

    async def main() -> None:
        where = {"host": wire.host, "port": wire.port, "timeout": 1.0}
        async with opener.producer("streams") as producer, opener.consumer("streams", **where) as consumer:
            assert await consumer.consume(1, 0) == []
            wire.swallow_replies()
            raw.config_resetstat()
            reading = asyncio.create_task(consumer.consume(10, 30.0))
            async with asyncio.timeout(20):
                while "cmdstat_xreadgroup" not in (calls := raw.info("commandstats")) and not reading.done():
                    await asyncio.sleep(0.01)
            assert not any(await producer.produce(records(3)))
            with pytest.raises(NotConnected, match=str(wire.port)):
                await reading
            calls = raw.info("commandstats").get("cmdstat_xreadgroup", {"calls": 0})
            assert calls["calls"] <= 1  # the client's default would be up to eleven
            wire.heal()
            await consumer.connect()
            messages = await consumed(consumer, 3)
            assert [message.message for message in messages] == [b"0", b"1", b"2"]
            assert await consumer.on_success(messages) == 0
        assert raw.xpending(opener.queue, "penstock")["pending"] == 0

    asyncio.run(main())


def test_what_was_read_into_a_dead_connection_comes_again(opener: Any, consumed: Any, raw: Any) -> None:
    """The server gave it to this consumer, who never got it: it is neither lost nor kept for a lease."""

    async def main() -> None:
        async with opener.producer("streams") as producer:
            await producer.produce(records(5))
        async with opener.consumer("streams", consumer="worker-1", lease=600) as consumer:
            held = await consumed(consumer, 2)
            raw.xreadgroup("penstock", "worker-1", {opener.queue: ">"}, count=3)
            await consumer.connect()
            again = await consumed(consumer, 3)
            assert [(m.message, m.attempts, m.abandoned) for m in again] == [(b"2", 2, 0), (b"3", 2, 0), (b"4", 2, 0)]
            assert await consumer.on_success([*held, *again]) == 0

    asyncio.run(main())


def test_trimming_never_removes_what_is_unacknowledged(opener: Any, consumed: Any, raw: Any) -> None:
    """`max_length` waits for the slowest group; Redis's own MAXLEN would have lost what it has in work."""

    async def main() -> None:
        async with (
            opener.consumer("streams") as consumer,
            opener.consumer("streams", group="idle"),
            opener.producer("streams", max_length=10) as producer,
        ):
            await producer.produce(records(100))
            held = await consumed(consumer, 100)
            await consumer.on_success(held[5:])
            await producer.produce(records(1))
            assert raw.xlen(opener.queue) == 101  # the group `idle` has had none of them
            raw.xgroup_destroy(opener.queue, "idle")
            await producer.produce(records(1))
            assert raw.xlen(opener.queue) == 102  # five are in work
            assert await consumer.on_success(held[:5]) == 0
            await producer.produce(records(1))
            assert raw.xlen(opener.queue) == 10
            assert [message.message for message in await consumed(consumer, 3)] == [b"0"] * 3

    asyncio.run(main())


def test_nothing_is_trimmed_while_there_is_no_group(opener: Any, raw: Any) -> None:
    """Nobody has read anything yet; a consumer that starts later gets all of it."""

    async def main() -> None:
        async with opener.producer("streams", max_length=3) as producer:
            await producer.produce(records(20))
        assert raw.xlen(opener.queue) == 20

    asyncio.run(main())


def test_a_consumer_trims_too(opener: Any, consumed: Any, raw: Any) -> None:
    """For streams that another program writes."""

    async def main() -> None:
        for number in range(30):
            raw.xadd(opener.queue, {"body": str(number)})
        async with opener.consumer("streams", max_length=0) as consumer:
            await consumer.on_success(await consumed(consumer, 30))
        assert raw.xlen(opener.queue) == 0

    asyncio.run(main())


def test_what_another_program_trims_is_called_lost(opener: Any, raw: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is in no stream any more; the log says how many, and what did it, and nothing stays pending."""

    async def main() -> None:
        async with opener.producer("streams") as producer:
            await producer.produce(records(5))
        raw.xgroup_create(opener.queue, "penstock", 0)
        raw.xreadgroup("penstock", "dead", {opener.queue: ">"}, count=3)
        raw.xadd(opener.queue, {"body": "new"}, maxlen=1, approximate=False)
        await asyncio.sleep(0.01)
        raw.hset(f"{{{opener.queue}}}:penstock:penstock:leases", "dead", 1)
        async with opener.consumer("streams") as consumer:
            messages = await consumer.consume(10, 5.0)
            messages += await consumer.consume(10, 0.1)
            assert [message.message for message in messages] == [b"new"]
            await consumer.on_success(messages)
            assert (await consumer.backlog()).in_flight == 0

    with caplog.at_level(logging.ERROR, "penstock.redis"):
        asyncio.run(main())

    assert "3 entries are LOST" in caplog.text


def test_a_lease_is_as_long_as_its_owner_said(opener: Any, consumed: Any) -> None:
    """A worker with short leases takes nothing from one with long ones."""

    async def main() -> None:
        async with opener.producer("streams") as producer:
            await producer.produce(records(2))
        async with opener.consumer("streams", lease=60) as slow, opener.consumer("streams", lease=DEAD) as quick:
            held = await consumed(slow, 2)
            assert await quick.consume(2, 4 * DEAD) == []
            assert await slow.on_success(held) == 0

    asyncio.run(main())


def test_a_delay_may_be_longer_than_a_lease(opener: Any, consumed: Any) -> None:
    """Redis itself can hold back an entry for at most the time that makes it idle."""

    async def main() -> None:
        async with opener.producer("streams") as producer:
            await producer.produce(records(1))
        async with opener.consumer("streams", lease=DEAD) as consumer:
            started = time.monotonic()
            await consumer.on_fail(await consumed(consumer, 1), 4 * DEAD)
            (again,) = await consumed(consumer, 1)
            assert time.monotonic() - started >= 4 * DEAD
            assert (again.attempts, again.abandoned) == (2, 0)

    asyncio.run(main())


def test_a_due_time_that_is_lost_is_now(opener: Any, consumed: Any, raw: Any) -> None:
    """The key was deleted, or evicted: what was requeued is still pending, and comes."""

    async def main() -> None:
        async with opener.producer("streams") as producer:
            await producer.produce(records(3))
        async with opener.consumer("streams") as consumer:
            await consumer.on_fail(await consumed(consumer, 3), 600)
        assert raw.delete(f"{{{opener.queue}}}:penstock:penstock:requeued") == 1
        async with opener.consumer("streams") as consumer:
            assert len(await consumed(consumer, 3)) == 3

    asyncio.run(main())


def test_a_consumer_that_stops_leaves_no_name_behind(opener: Any, consumed: Any, raw: Any) -> None:
    """And what it had in work is not forgotten with the name, as by XGROUP DELCONSUMER alone."""

    async def main() -> None:
        async with opener.producer("streams") as producer:
            await producer.produce(records(3))
        async with opener.consumer("streams") as consumer:
            await consumed(consumer, 3)
        names = [each["name"] for each in raw.xinfo_consumers(opener.queue, "penstock")]
        assert names == [b"penstock:requeued"]
        async with opener.consumer("streams") as consumer:
            assert len(await consumed(consumer, 3)) == 3

    asyncio.run(main())


def test_an_entry_of_another_program_is_a_json_object(opener: Any, consumed: Any, raw: Any) -> None:
    """Its fields, as text."""
    raw.xadd(opener.queue, {"id": "7", "näme": "Ä", "bytes": b"\xff"})

    async def main() -> None:
        async with opener.consumer("streams") as consumer:
            (message,) = await consumed(consumer, 1)
            assert json.loads(message.message) == {"id": "7", "näme": "Ä", "bytes": "\\xff"}

    asyncio.run(main())


def test_a_header_without_a_value_comes_back_without_one(opener: Any, consumed: Any) -> None:
    """None is not b""; order and repeated names stay."""
    headers = [("a", None), ("a", b""), ("b", b"x")]

    async def main() -> None:
        async with opener.producer("streams") as producer, opener.consumer("streams") as consumer:
            await producer.produce([Record(b"x", b"k", headers)])
            (message,) = await consumed(consumer, 1)
            assert (message.key, list(message.headers)) == (b"k", headers)

    asyncio.run(main())


def test_a_stream_that_is_deleted_is_made_again(opener: Any, consumed: Any, raw: Any) -> None:
    """NOGROUP means: connect, and go on."""

    async def main() -> None:
        async with opener.producer("streams") as producer, opener.consumer("streams") as consumer:
            raw.delete(opener.queue)
            with pytest.raises(NotConnected, match="NOGROUP"):
                await consumer.consume(1, 1.0)
            await consumer.connect()
            await producer.produce(records(1))
            assert len(await consumed(consumer, 1)) == 1

    asyncio.run(main())


def test_a_missing_stream_is_waited_for_without_create(opener: Any) -> None:
    """Both sides: another program may make it later. Nothing is made meanwhile."""

    async def main() -> None:
        for side in (0, 1):
            connector = opener.make("streams", side, create=False)
            try:
                with pytest.raises(NotConnected, match="create"):
                    await connector.connect()
            finally:
                await connector.shutdown()

    asyncio.run(main())


def test_a_key_that_is_not_a_stream_is_named(opener: Any, raw: Any) -> None:
    """It never can be one: the engine stops."""
    raw.set(opener.queue, "text")

    async def main() -> None:
        consumer = opener.make("streams", 0)
        try:
            with pytest.raises(ConnectorError, match="choose another `value`"):
                await consumer.connect()
        finally:
            await consumer.shutdown()

    asyncio.run(main())


def test_a_slow_server_ends_no_lease(redis_server: Any, proxy: Any, opener: Any, consumed: Any) -> None:
    """40 ms a round trip, twenty messages settled one by one at the same time, leases of a second: none is late."""
    wire = proxy(redis_server.host, redis_server.port)

    async def main() -> None:
        where = {"host": wire.host, "port": wire.port, "lease": 1.0}
        async with opener.producer("streams") as producer:
            await producer.produce(records(400))
        async with opener.consumer("streams", **where) as consumer:
            wire.delay(0.02)
            held = await consumed(consumer, 400)
            waiting = asyncio.Semaphore(20)

            async def settle(message: Any) -> int:
                async with waiting:
                    await asyncio.sleep(0.1)
                    return int(await consumer.on_success([message]) or 0)

            async def keep(consumer: StreamConsumer) -> None:
                while True:
                    await asyncio.sleep(1.0 / 3)
                    await consumer.extend([message for message in held if message in consumer.leases])

            extending = asyncio.create_task(keep(consumer))
            late = await asyncio.gather(*(settle(message) for message in held))
            extending.cancel()
            assert sum(late) == 0
            assert consumer.lost_leases == 0

    asyncio.run(main())


def test_a_full_server_can_be_emptied(own_redis: Any, opener: Any, consumed: Any) -> None:
    """At `maxmemory` it refuses records, for now; a worker that starts then takes, extends, requeues and settles."""
    server = own_redis()
    where = {"host": server.host, "port": server.port}

    async def main() -> None:
        async with opener.producer("streams", **where) as producer, opener.consumer("streams", **where) as consumer:
            await producer.produce(records(20))
            await consumer.on_success(await consumed(consumer, 5))
            with redis.Redis(**where) as admin:
                admin.config_set("maxmemory", 1)
            (refused,) = await producer.produce(records(1))
            assert refused is not None
            assert refused.retriable
        async with opener.consumer("streams", **where) as consumer:
            held = await consumed(consumer, 15)
            await consumer.extend(held)
            assert await consumer.on_fail(held[:5]) == 0
            assert await consumer.on_success([*held[5:], *await consumed(consumer, 5)]) == 0
            assert await consumer.lag() == 0

    asyncio.run(main())
