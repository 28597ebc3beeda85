"""`retry` at a queue, on Redis behind a wire that is cut: at the start, and while a worker sends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from core.tests.engine_fixture import drain, running, until
from tests.servers.redis import RedisServer

from penstock import Engine, Queues
from penstock.errors import NotConnected

RETRY = {"max_attempts": 2, "initial_delay": 0.05}


@pytest.fixture
def name(redis_server: RedisServer) -> str:
    """What the streams of this test begin with."""
    return redis_server.queue()


@pytest.fixture
def wire(redis_server: RedisServer, proxy: Any) -> Any:
    """The wire before the output queue."""
    return proxy(redis_server.host, redis_server.port)


@pytest.fixture
def queues(redis_server: RedisServer, name: str, wire: Any) -> dict[str, Any]:
    """Three streams of one server, of which only the output is behind the wire."""
    direct = {"connector": "redis.streams", "config": {"url": redis_server.url}}
    through = {"connector": "redis.streams", "config": {"host": wire.host, "port": wire.port, "timeout": 5.0}}
    return {
        "in": {"value": f"{name}:in", **direct},
        "out": {"value": f"{name}:out", **through, "retry": RETRY},
        "dead": {"value": f"{name}:dead", **direct, "serializer": None, "model_handler": None},
    }


@pytest.fixture
def engine(queues: dict[str, Any]) -> Engine:
    """Passes everything on."""
    app = Engine("in", ["out"], dead_letter_queue="dead", queue_config=queues, metrics_port=None)
    app.stream_app(lambda number: ("out", number))
    return app


def test_a_server_that_is_away_at_the_start_ends_the_worker(engine: Engine, wire: Any) -> None:
    """After the attempts of its queue, with queue and address; not after the worker's own time."""
    wire.cut()

    with pytest.raises(NotConnected) as caught:
        drain(engine, connect_timeout=600.0)

    text = str(caught.value)
    assert text.startswith("queue 'out', redis.streams: ")
    assert f"{wire.host}:{wire.port}" in text
    assert text.endswith("; given up after 2 attempts (retry.max_attempts of the queue)")


def test_what_an_output_gives_up_is_dead_lettered_until_its_server_is_back(
    engine: Engine, queues: dict[str, Any], redis_server: RedisServer, name: str, wire: Any
) -> None:
    """Each message is in one of the two queues, and none is left in the input."""
    raw: Any = redis.Redis.from_url(redis_server.url)

    async def main() -> None:
        async with Queues(queues) as direct, running(engine) as run:
            await until(run.worker.health.ready)
            await direct.send_batch("in", range(100))
            await until(lambda: raw.xlen(f"{name}:out") == 100)
            wire.cut()
            await direct.send_batch("in", range(100, 200))
            await until(lambda: raw.xlen(f"{name}:dead") == 100)
            assert not run.worker.health.ready()
            wire.heal()
            await direct.send_batch("in", range(200, 300))
            await until(lambda: raw.xlen(f"{name}:out") + raw.xlen(f"{name}:dead") == 300)
            await until(lambda: raw.xpending(f"{name}:in", "penstock")["pending"] == 0)
            assert run.worker.health.ready()

    with raw:
        asyncio.run(main())
        [(_, first), *_others] = raw.xrange(f"{name}:dead")

    assert any(b"given up after 2 attempts" in value for value in first.values())
