"""On a Redis Cluster the client goes to the node that has the queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from tests.servers.redis import SLOTS, joined

from penstock.message import Record


@pytest.mark.parametrize("kind", ["streams", "lists"])
def test_a_queue_is_followed_to_its_node(kind: str, own_redis: Any, opener: Any, consumed: Any) -> None:
    """Whichever node the options name, and also when the queue moves to another one while it is open."""
    old, new = (own_redis("--cluster-enabled", "yes") for _ in range(2))
    joined(old, new)
    with redis.Redis(host=old.host, port=old.port) as of_old, redis.Redis(host=new.host, port=new.port) as of_new:
        slot = of_old.execute_command("CLUSTER", "KEYSLOT", "{b}")
        assert slot < SLOTS // 2, "the tag must lie with the first node"
        to = of_new.execute_command("CLUSTER", "MYID").decode()

        async def sent_and_received(where: dict[str, Any]) -> None:
            async with opener.producer(kind, **where) as producer, opener.consumer(kind, **where) as consumer:
                assert not any(await producer.produce([Record(b"1"), Record(b"2")]))
                messages = await consumed(consumer, 2)
                assert await consumer.on_success(messages) == 0
                if where["port"] == new.port:
                    return
                of_old.flushall()
                for admin in (of_new, of_old):
                    admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", to)
                await consumer.connect()
                assert not any(await producer.produce([Record(b"3")]))
                assert [each.message for each in await consumed(consumer, 1)] == [b"3"]

        async def main() -> None:
            for server in (new, old):
                await sent_and_received({"queue": "{b}", "host": server.host, "port": server.port})

        asyncio.run(main())
