"""The way of messages through three services on Redis, two of them joined in a batch: in a header, or in bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from core.tests.engine_fixture import drain
from tests.servers.redis import RedisServer

from penstock import Engine, Queues
from penstock.lineage import HEADER, Hop, dump, latencies, read

CHAIN = [Hop("a", "q", "1", 0.0), Hop("b", "q", "2", 10.0), Hop("c", "q", "3", 30.0)]
LONG = [Hop(f"s{number}", "q", str(number), float(number)) for number in range(30)]


class Services:
    """Orders and payments meet in one service, which books a batch of them as one."""

    def __init__(self, server: RedisServer, serializer: str) -> None:
        name = server.queue()
        keys = {"connector": "redis.streams", "config": {"url": server.url}, "serializer": serializer}
        self.queues = {each: {"value": f"{name}:{each}", **keys} for each in ("orders", "payments", "both", "books")}
        self.queues["both"]["batch"] = True

    def engine(self, source: str, target: str, name: str, function: Any) -> Engine:
        """One service."""
        app = Engine(source, [target], name, queue_config=self.queues, metrics_port=None, lineage=20)
        app.stream_app(function)
        return app

    def way(self, order: Sequence[Hop], payment: Sequence[Hop]) -> list[tuple[str, bytes | None]]:
        """The headers of what is booked of an order and a payment that have come these ways."""

        async def send() -> None:
            async with Queues(self.queues) as queues:
                await queues.send("orders", {"id": 1}, headers=[(HEADER, dump(order))])
                await queues.send("payments", {"id": 2}, headers=[(HEADER, dump(payment))])

        async def booked() -> list[tuple[str, bytes | None]]:
            async with Queues(self.queues) as queues, asyncio.timeout(20):
                async for delivery in queues.read("books"):
                    await delivery.done()
                    assert sorted(delivery.object) == [1, 2]
                    return list(delivery.headers)
            raise AssertionError("nothing was booked")

        asyncio.run(send())
        drain(
            self.engine("orders", "both", "ordering", lambda order: ("both", order)),
            self.engine("payments", "both", "paying", lambda payment: ("both", payment)),
        )
        drain(self.engine("both", "books", "booking", lambda both: ("books", [each["id"] for each in both])))
        return asyncio.run(booked())


@pytest.mark.parametrize("serializer", ["json", "phq"])
def test_latencies_are_those_of_the_whole_way(redis_server: RedisServer, serializer: str) -> None:
    """As PredictHQ counts them: b 10 s after a, c 20 s after b, then the services here, and the one that has it now."""
    headers = Services(redis_server, serializer).way(CHAIN, CHAIN)

    last = read(headers)[-1]
    found = [(hop.app if hop else None, seconds) for hop, seconds in latencies(headers, to=last.time + 5.0)]
    assert found[:2] == [("b", 10.0), ("c", 20.0)]
    assert {name for name, _ in found[2:4]} == {"ordering", "paying"}
    assert [name for name, _ in found[4:]] == ["booking", None]
    assert found[-1][1] == pytest.approx(5.0, abs=0.01)
    assert sum(seconds for _, seconds in found) == pytest.approx(last.time + 5.0)


@pytest.mark.parametrize("serializer", ["json", "phq"])
def test_a_long_way_is_bounded_where_messages_are_joined(redis_server: RedisServer, serializer: str) -> None:
    """To the last 20 hops of both."""
    hops = read(Services(redis_server, serializer).way(LONG, CHAIN))

    assert len(hops) == 20
    assert {hop.app for hop in hops} >= {"ordering", "paying", "booking", "c", "s29"}
    assert {hop.app for hop in hops}.isdisjoint({"a", "b", "s0"})
