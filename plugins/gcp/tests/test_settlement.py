"""Acknowledgements that come too late, order by key, and what a slow or a wrong server does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.servers.proxy import Proxy

from penstock.errors import FatalConnectorError
from penstock.message import Record

SLOW = 0.02  # seconds each way: a round trip of 40 ms


def test_a_stale_acknowledgement_is_ignored_by_pubsub_and_counted_here(opener: Any, consumed: Any) -> None:
    """Pub/Sub says OK to it, and delivers the message again; the connector says that it was late."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(ack_deadline=1) as slow, opener.consumer() as other:
            assert not any(await producer.produce([Record(b"x")]))
            [held] = await consumed(slow, 1)
            [taken] = await consumed(other, 1)
            async with opener.raw() as raw:
                # No error, though it settles nothing.
                await raw.acknowledge(subscription=opener.subscription, ack_ids=[held.message_context.ack_id])
            assert await slow.on_success([held]) == 1
            assert slow.lost_leases == 1
            assert not await other.on_fail([taken])
            [again] = await consumed(other, 1)
            assert again.message == b"x"
            assert not await other.on_success([again])

    asyncio.run(main())


def test_exactly_once_delivery_answers_for_each_acknowledgement(opener: Any, consumed: Any) -> None:
    """The service itself names the one that was not for the last delivery; the others are settled."""

    async def main() -> None:
        options = {"exactly_once": True, "ack_deadline": 10}
        async with opener.producer(**options) as producer, opener.consumer(**options) as consumer:
            assert not any(await producer.produce([Record(b"%d" % number) for number in range(3)]))
            messages = await consumed(consumer, 3)
            async with opener.raw() as raw:
                # Another client ends one lease, and has the message itself by now.
                lost = messages[1].message_context.ack_id
                await raw.modify_ack_deadline(subscription=opener.subscription, ack_ids=[lost], ack_deadline_seconds=0)
                answer = await raw.pull(subscription=opener.subscription, max_messages=1)
                assert len(answer.received_messages) == 1
            assert await consumer.on_success(messages) == 1
            await consumer.extend(messages)
            assert not await consumer.consume(1, 0.6)

    asyncio.run(main())


def test_messages_of_a_key_come_in_their_order(opener: Any, consumed: Any) -> None:
    """With `ordering`, from several calls at once, also behind one that was requeued."""

    async def main() -> None:
        async with opener.producer(ordering=True) as producer, opener.consumer(ordering=True) as consumer:
            records = [Record(b"%d" % number, b"key") for number in range(9)]
            answers = await asyncio.gather(*(producer.produce(records[start : start + 3]) for start in (0, 3, 6)))
            assert not any(error for answer in answers for error in answer)
            [first] = await consumed(consumer, 1)
            assert (first.message, first.key) == (b"0", b"key")
            await consumer.on_fail([first], delay=1.0)
            seen: list[bytes | None] = []
            while len(seen) < 9:
                for message in await consumed(consumer, 1):
                    seen.append(message.message)
                    await consumer.on_success([message])
            assert seen == [b"%d" % number for number in range(9)]

    asyncio.run(main())


def test_a_slow_server_ends_no_lease(opener: Any, consumed: Any, proxy: Callable[..., Proxy]) -> None:
    """A round trip of 40 ms, a short lease, settlements in twenty calls at once while leases are extended."""
    slow = proxy("127.0.0.1", opener.server.port)

    async def main() -> None:
        where = {"emulator": f"127.0.0.1:{slow.port}", "ack_deadline": 3}
        async with opener.producer() as producer, opener.consumer(**where) as consumer:
            assert not any(await producer.produce([Record(b"%d" % number) for number in range(200)]))
            slow.delay(SLOW)
            messages = await consumed(consumer, 200)
            assert len(messages) == 200

            async def work(part: list[Any]) -> int:
                late = 0
                for message in part:
                    await asyncio.sleep(0.4)
                    late += await consumer.on_success([message]) or 0
                return late

            async def extend() -> None:
                while True:
                    await asyncio.sleep(1.0)
                    await consumer.extend(messages)

            extending = asyncio.create_task(extend())
            late = await asyncio.gather(*(work(messages[start::20]) for start in range(20)))
            extending.cancel()
            assert sum(late) == 0
            assert consumer.lost_leases == 0

    asyncio.run(main())
    slow.heal()


def test_a_topic_without_a_subscription_is_warned_of(opener: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What is published to it is lost, and Pub/Sub says nothing."""

    async def main() -> None:
        async with opener.producer():
            pass
        async with opener.raw() as raw:
            await raw.delete_subscription(subscription=opener.subscription)
        with caplog.at_level(logging.WARNING, "penstock.gcp"):
            async with opener.producer(create=False):
                pass
        assert "has no subscription, so what is published to it is lost" in caplog.text

    asyncio.run(main())


def test_what_does_not_exist_is_said_with_the_command_that_makes_it(opener: Any) -> None:
    """Neither side waits for it."""

    async def main() -> None:
        with pytest.raises(FatalConnectorError, match=r"has no subscription .* `penstock queue CONFIG create`"):
            async with opener.consumer(create=False):
                pass
        with pytest.raises(FatalConnectorError, match=r"has no topic .* `create: true`"):
            async with opener.producer(create=False):
                pass

    asyncio.run(main())


def test_a_record_that_pubsub_refuses_stops_no_other(opener: Any, consumed: Any) -> None:
    """A request is all or nothing, so the one to blame is found by halves."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            # The service takes 1,024 bytes of a key; this one is a digest beside its pieces.
            records = [Record(b"a"), Record(bytes(10_000_000)), Record(b"c", bytes(2000))]
            answers = list(await producer.produce(records))
            assert [error is None for error in answers] == [True, False, True]
            assert answers[1] is not None
            assert not answers[1].retriable
            messages = await consumed(consumer, 2)
            assert {message.key for message in messages} == {None, bytes(2000)}

    asyncio.run(main())


def test_an_acknowledgement_that_failed_for_a_while_is_repeated_alone(opener: Any, consumed: Any) -> None:
    """The others of its call are settled by then: sent again they would be refused, and counted as late."""

    async def main() -> None:
        options = {"exactly_once": True, "ack_deadline": 10}
        async with opener.producer(**options) as producer, opener.consumer(**options) as consumer:
            assert not any(await producer.produce([Record(b"0"), Record(b"stumbles"), Record(b"2")]))
            assert await consumer.on_success(await consumed(consumer, 3)) == 0
            assert not await consumer.consume(1, 0.6)

    asyncio.run(main())
