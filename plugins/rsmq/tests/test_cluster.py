"""On a Redis Cluster: a queue's keys share a slot, and the client goes to the node that has it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from tests.servers.redis import SLOTS, joined

from penstock.errors import FatalConnectorError, NotConnected
from penstock.message import Record


def test_a_queue_is_found_on_the_node_that_has_its_slot(own_redis: Any, opener: Any, consumed: Any) -> None:
    """Whichever node the config names, all of send, receive, extend and delete work for queues on both."""
    servers = [own_redis("--cluster-enabled", "yes") for _ in range(2)]
    joined(*servers)

    async def main() -> None:
        for server in servers:
            where = {"host": server.host, "port": server.port}
            # These two tags lie in different halves of the slots.
            for ns in ("{a}", "{b}"):
                async with opener.producer(ns=ns, **where) as producer, opener.consumer(ns=ns, **where) as consumer:
                    assert not any(await producer.produce([Record(b"x"), Record(b"y")]))
                    messages = await consumed(consumer, 2)
                    await consumer.extend(messages)
                    assert await consumer.on_success(messages) == 0

    asyncio.run(main())


def test_a_queue_that_moves_to_another_node_is_followed(own_redis: Any, opener: Any, consumed: Any) -> None:
    """While slots are dealt out anew: one NotConnected, then `connect` leads to the new node."""
    old, new = (own_redis("--cluster-enabled", "yes") for _ in range(2))
    joined(old, new)
    with redis.Redis(host=old.host, port=old.port) as of_old, redis.Redis(host=new.host, port=new.port) as of_new:
        slot = of_old.execute_command("CLUSTER", "KEYSLOT", "{b}")
        assert slot < SLOTS // 2, "the tag must lie with the first node"
        to = of_new.execute_command("CLUSTER", "MYID").decode()

        async def main() -> None:
            async with opener.consumer(ns="{b}", host=old.host, port=old.port) as consumer:
                assert await consumer.consume(1, 0) == []
                of_old.flushall()
                for admin in (of_new, of_old):
                    admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", to)
                with pytest.raises(NotConnected, match=f"lives at {new.host}:{new.port}"):
                    await consumer.consume(1, 0)
                await consumer.connect()
                assert await consumer.consume(1, 0) == []

        asyncio.run(main())


def test_a_namespace_without_a_hash_tag_is_refused_with_the_remedy(own_redis: Any, opener: Any) -> None:
    """The sorted set and the hash would lie in different slots; the error says what to write."""
    server = own_redis("--cluster-enabled", "yes")
    joined(server)

    async def main() -> None:
        async with opener.consumer(host=server.host, port=server.port):
            pass

    with pytest.raises(FatalConnectorError, match=r"ns: '\{rsmq\}'"):
        asyncio.run(main())
