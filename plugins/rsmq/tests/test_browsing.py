"""What browsing an RSMQ queue shows beyond what the conformance kit asks for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from penstock.errors import ConnectorError
from penstock.message import Record
from penstock_rsmq.consumer import RsmqConsumer


def test_a_delay_is_told_from_a_lease(opener: Any) -> None:
    """RSMQ hides both alike; the receive count and Penstock's marks tell them apart."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            assert not any(await producer.produce([Record(b"leased"), Record(b"requeued")]))
            leased, requeued = sorted(await consumer.consume(2, 5.0), key=lambda message: message.position)
            await consumer.on_fail([requeued], 60.0)
            assert not any(await producer.produce([Record(b"waiting"), Record(b"delayed", delay=60.0)]))

            found = {each.message: (each.state, each.attempts) for each in await consumer.browse(10)}

            assert found == {
                leased.message: ("leased", 1),
                requeued.message: ("delayed", 1),
                b"waiting": ("waiting", 0),
                b"delayed": ("delayed", 0),
            }

    asyncio.run(main())


def test_a_long_queue_is_read_in_pages_in_the_order_of_sending(opener: Any) -> None:
    """Also where a page takes several calls, and an id is read by several of them."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            bodies = [b"%04d" % number for number in range(3_000)]
            assert not any(await producer.produce([Record(body) for body in bodies]))
            seen: list[bytes | None] = []
            after = None
            while page := await consumer.browse(1_300, after):
                seen += [message.message for message in page]
                after = page[-1].position
            assert sorted(seen, key=lambda body: body or b"") == bodies
            # Those of one call have ids of the same microsecond.
            assert [seen.index(body) // 500 for body in bodies] == [number // 500 for number in range(3_000)]

    asyncio.run(main())


def test_a_page_of_large_bodies_is_shorter(opener: Any) -> None:
    """No answer of the server is larger than about 8 MB; the rest comes with the next pages."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            assert not any(await producer.produce([Record(bytes([number]) * 3_000_000) for number in range(5)]))
            first = await consumer.browse(10)
            second = await consumer.browse(10, first[-1].position)
            assert 1 <= len(first) < 5
            assert len({message.position for message in [*first, *second]}) == len(first) + len(second)

    asyncio.run(main())


def test_a_queue_that_is_not_there_is_not_created(opener: Any, raw: redis.Redis, queue: str) -> None:
    """Although `create` would do so for a consumer that connects."""
    consumer = RsmqConsumer(f"{queue}-missing", opener.options(create=True))

    async def main() -> None:
        with pytest.raises(ConnectorError, match="has no queue"):
            await consumer.browse(1)
        await consumer.shutdown()

    asyncio.run(main())

    assert not raw.exists(f"rsmq:{queue}-missing:Q")


def test_what_is_not_a_position_is_rejected(opener: Any) -> None:
    """With a word about what a position is."""

    async def main() -> None:
        async with opener.consumer() as consumer:
            with pytest.raises(ConnectorError, match=r"is not a position of queue .*; a position is a message's id"):
                await consumer.browse(1, "0/42")

    asyncio.run(main())
