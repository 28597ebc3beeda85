"""Leases, fences and what a consumer requeues, on a real Redis."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
import redis
from rsmq import RedisSMQ

from penstock.errors import FatalConnectorError
from penstock.message import Record


async def sent(opener: Any, *bodies: bytes, delay: float = 0.0) -> None:
    async with opener.producer() as producer:
        assert not any(await producer.produce([Record(body, delay=delay) for body in bodies]))


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", bytes(range(256)), b"1 2 3\r\n$5", b"x" * 1_000_000],
    ids=["empty", "nul", "every byte", "looks like a protocol", "1 MB"],
)
def test_a_body_survives_byte_for_byte(opener: Any, consumed: Any, body: bytes) -> None:
    """Beside others of other lengths, so that a wrong cut would show."""

    async def main() -> None:
        await sent(opener, b"before", body, b"after")
        async with opener.consumer() as consumer:
            messages = await consumed(consumer, 3)
            assert [m.message for m in messages] == [b"before", body, b"after"]
            assert await consumer.on_success(messages) == 0

    asyncio.run(main())


def test_many_large_bodies_come_in_several_bites(opener: Any, consumed: Any) -> None:
    """40 bodies of 1 MB, asked for at once, all come, and no single answer of the server holds them all."""

    async def main() -> None:
        await sent(opener, *(b"%02d" % i + b"x" * 1_000_000 for i in range(40)))
        async with opener.consumer() as consumer:
            first = await consumer.consume(500, 5.0)
            rest = await consumed(consumer, 40 - len(first), at_once=500)
            assert len(first) < 40
            assert sorted(m.message[:2] for m in [*first, *rest]) == [b"%02d" % i for i in range(40)]

    asyncio.run(main())


def test_a_late_delete_leaves_the_new_owners_message_alone(opener: Any, pyrsmq: RedisSMQ, consumed: Any) -> None:
    """A's lease ends, B receives, A deletes: nothing happens, and A learns of it; B's delete works."""

    async def main() -> None:
        await sent(opener, b"contested")
        async with opener.consumer(vt=0.1) as a, opener.consumer(vt=60) as b:
            of_a = await consumed(a, 1)
            of_b = await consumed(b, 1)
            assert of_b[0].attempts == 2
            assert await a.on_success(of_a) == 1
            assert pyrsmq.getQueueAttributes().execute()["msgs"] == 1
            assert await b.on_success(of_b) == 0
            assert pyrsmq.getQueueAttributes().execute()["msgs"] == 0

    asyncio.run(main())


def test_a_late_requeue_leaves_the_new_owners_lease_alone(opener: Any, consumed: Any) -> None:
    """A's lease ends, B receives, A requeues: the message stays hidden, and B's."""

    async def main() -> None:
        await sent(opener, b"contested")
        async with opener.consumer(vt=0.1) as a, opener.consumer(vt=60) as b:
            of_a = await consumed(a, 1)
            of_b = await consumed(b, 1)
            await a.on_fail(of_a)
            assert await b.lag() == 0
            assert await b.on_success(of_b) == 0

    asyncio.run(main())


def test_a_lease_that_ended_but_found_no_taker_is_still_ours(opener: Any, consumed: Any) -> None:
    """Late, but alone: the work is done, so the message is deleted, not repeated."""

    async def main() -> None:
        await sent(opener, b"slow")
        async with opener.consumer(vt=0.05) as consumer:
            messages = await consumed(consumer, 1)
            while await consumer.lag() == 0:
                await asyncio.sleep(0.01)
            assert await consumer.on_success(messages) == 0

    asyncio.run(main())


def test_extend_keeps_a_slow_message_single_delivered(opener: Any, consumed: Any) -> None:
    """Worked on for four leases and extended in time, no other consumer sees it, and its delete counts."""

    async def main() -> None:
        await sent(opener, b"slow")
        async with opener.consumer(vt=0.5) as owner, opener.consumer(vt=0.5) as other:
            assert owner.lease == 0.5
            messages = await consumed(owner, 1)
            end = time.monotonic() + 2.0
            while time.monotonic() < end:
                assert await other.consume(10, 0.15) == []
                await owner.extend(messages)
            assert await owner.on_success(messages) == 0
            assert owner.lost_leases == 0

    asyncio.run(main())


def test_an_extension_that_comes_too_late_changes_nothing_and_is_counted(
    opener: Any, consumed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The lost message is left to its new owner; one that is still ours is extended all the same."""

    async def main() -> None:
        await sent(opener, b"lost")
        async with opener.consumer(vt=0.1) as a, opener.consumer(vt=60) as b:
            lost = await consumed(a, 1)
            of_b = await consumed(b, 1)
            await sent(opener, b"kept")
            kept = await consumed(a, 1)
            await a.extend([*lost, *kept])
            assert a.lost_leases == 1
            assert await a.on_success([*lost, *kept]) == 1
            assert await b.on_success(of_b) == 0

    with caplog.at_level(logging.WARNING, "penstock.rsmq"):
        asyncio.run(main())

    assert "leases ended before they were extended" in caplog.text


def test_settling_beside_an_extension_never_loses_to_it(opener: Any, consumed: Any) -> None:
    """An extension replaces the token; a delete that was asked for meanwhile must show the new one."""

    async def main() -> None:
        await sent(opener, *(b"%d" % i for i in range(200)))
        async with opener.consumer() as consumer:
            messages = await consumed(consumer, 200)
            calls = []
            for message in messages:
                calls += [consumer.extend(messages), consumer.on_success([message])]
            assert sum(left or 0 for left in await asyncio.gather(*calls)) == 0
            assert consumer.lost_leases == 0

    asyncio.run(main())


def test_a_message_requeued_is_visible_at_once_and_counted(opener: Any, consumed: Any) -> None:
    """`attempts` is RSMQ's receive count: 1, 2, 3."""

    async def main() -> None:
        await sent(opener, b"again")
        async with opener.consumer() as consumer:
            for attempt in (1, 2, 3):
                (message,) = await consumed(consumer, 1)
                assert message.attempts == attempt
                await consumer.on_fail([message])
                assert await consumer.lag() == 1

    asyncio.run(main())


def test_a_message_requeued_with_a_delay_is_held_back(opener: Any, consumed: Any) -> None:
    """Hidden for the delay by the server's clock, then delivered."""

    async def main() -> None:
        await sent(opener, b"later")
        async with opener.consumer() as consumer:
            (message,) = await consumed(consumer, 1)
            started = time.monotonic()
            await consumer.on_fail([message], 0.4)
            assert await consumer.lag() == 0
            await consumed(consumer, 1)
            assert 0.39 <= time.monotonic() - started < 5

    asyncio.run(main())


def test_shutdown_gives_unsettled_messages_back_at_once(opener: Any, consumed: Any) -> None:
    """With a lease of an hour another consumer has them right away; what was settled does not come back."""

    async def main() -> None:
        await sent(opener, *(b"%d" % i for i in range(1100)))
        async with opener.consumer(vt=3600) as first:
            messages = await consumed(first, 1100, at_once=1100)
            assert await first.on_success(messages[:10]) == 0
        async with opener.consumer() as second:
            again = await consumed(second, 1090, at_once=1100)
            assert {m.message for m in again} == {m.message for m in messages[10:]}
            assert await second.consume(10, 0) == []

    asyncio.run(main())


def test_shutdown_leaves_alone_what_another_consumer_has_taken(opener: Any, consumed: Any) -> None:
    """Requeuing is fenced too: the lease had ended, the new owner keeps the message."""

    async def main() -> None:
        await sent(opener, b"contested")
        async with opener.consumer() as b:
            async with opener.consumer(vt=0.1) as a:
                await consumed(a, 1)
                of_b = await consumed(b, 1)
            assert await b.lag() == 0
            assert await b.on_success(of_b) == 0

    asyncio.run(main())


def test_lag_counts_what_is_visible(opener: Any, consumed: Any) -> None:
    """Neither what is in flight nor what is delayed."""

    async def main() -> None:
        async with opener.consumer() as consumer:
            assert await consumer.lag() == 0
            await sent(opener, b"1", b"2", b"3")
            await sent(opener, b"later", delay=60)
            assert await consumer.lag() == 3
            await consumed(consumer, 2)
            assert await consumer.lag() == 1

    asyncio.run(main())


def test_a_waiting_consumer_gets_a_message_soon(opener: Any) -> None:
    """A message that comes while consume waits ends the wait within the longest pause."""

    async def main() -> None:
        async with opener.consumer(poll_interval=0.05) as consumer:
            waiting = asyncio.create_task(consumer.consume(10, 30.0))
            await asyncio.sleep(0)
            await sent(opener, b"news")
            arrived = time.monotonic()
            (message,) = await waiting
            assert message.message == b"news"
            assert time.monotonic() - arrived < 2

    asyncio.run(main())


def test_settling_does_not_wait_for_a_consume_that_waits(opener: Any, consumed: Any) -> None:
    """While consume waits for more, a delete, an extension and a lag come back."""

    async def main() -> None:
        await sent(opener, b"1", b"2")
        async with opener.consumer() as consumer:
            one, two = await consumed(consumer, 2)
            waiting = asyncio.create_task(consumer.consume(10, 1.5))
            await asyncio.sleep(0)
            assert await consumer.on_success([one]) == 0
            await consumer.extend([two])
            assert await consumer.lag() == 0
            assert not waiting.done()
            assert await waiting == []

    asyncio.run(main())


def test_an_empty_queue_is_not_polled_in_a_hot_loop(opener: Any, raw: redis.Redis) -> None:
    """Half a second of waiting with a pause of up to 100 ms asks the server less than 15 times, not thousands."""

    async def main() -> None:
        async with opener.consumer(poll_interval=0.1) as consumer:
            before = raw.info("commandstats")["cmdstat_evalsha"]["calls"]
            assert await consumer.consume(10, 0.5) == []
            assert raw.info("commandstats")["cmdstat_evalsha"]["calls"] - before < 15

    # The first look loads the script, so that EVALSHA has a count.
    asyncio.run(main_with_script(opener))
    asyncio.run(main())


async def main_with_script(opener: Any) -> None:
    async with opener.consumer() as consumer:
        await consumer.consume(1, 0)
        await consumer.consume(1, 0)


def test_an_id_without_a_body_is_removed_not_delivered(
    opener: Any, raw: redis.Redis, queue: str, caplog: pytest.LogCaptureFixture, consumed: Any
) -> None:
    """Half a message, left by a client that died between two commands, cannot stop the queue; it is logged."""

    async def main() -> None:
        await sent(opener, b"whole")
        raw.zadd(f"rsmq:{queue}", {"half": 1})
        async with opener.consumer() as consumer:
            messages = await consumed(consumer, 1)
            assert [m.message for m in messages] == [b"whole"]
            assert raw.zcard(f"rsmq:{queue}") == 1

    with caplog.at_level(logging.WARNING, "penstock.rsmq"):
        asyncio.run(main())

    assert "1 ids without a body" in caplog.text


def test_a_missing_queue_is_refused_when_it_must_not_be_created(opener: Any) -> None:
    """`create: false` says so, with the name and the remedy."""

    async def main() -> None:
        async with opener.consumer(create=False):
            pass

    with pytest.raises(FatalConnectorError, match="create: true"):
        asyncio.run(main())


def test_a_key_that_is_no_queue_is_refused(opener: Any, raw: redis.Redis, queue: str) -> None:
    """Another program's key of the same name is neither read nor overwritten."""
    raw.set(f"rsmq:{queue}:Q", "mine")

    async def main() -> None:
        async with opener.consumer():
            pass

    with pytest.raises(FatalConnectorError, match="something else"):
        asyncio.run(main())
    assert raw.get(f"rsmq:{queue}:Q") == b"mine"
