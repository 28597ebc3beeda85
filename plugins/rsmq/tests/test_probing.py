"""What `penstock check --connect` says of Redis servers, as they are."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
import redis
from tests.servers.redis import RedisServer

from penstock.operations.probe import ProbedQueue, probe
from penstock.standalone import resolve


def ask(queue: str, **config: Any) -> list[ProbedQueue]:
    """The answers about a queue as an input and as an output."""
    settings = {"connector": "rsmq", "value": queue, "config": config}

    async def main() -> list[ProbedQueue]:
        return [each async for each in probe([resolve(settings, "input"), resolve(settings, "output")])]

    return asyncio.run(main())


def texts(found: list[ProbedQueue]) -> set[tuple[bool, str]]:
    """What was said, for both roles."""
    assert len(found) == 2
    return {(each.ok, each.text) for each in found}


def test_a_queue_that_works(redis_server: RedisServer, queue: str, raw: redis.Redis) -> None:
    """Everything is told, and nothing is left on the server."""
    before = set(raw.keys())
    [(ok, text)] = texts(ask(queue, url=redis_server.url, create=True))

    assert ok
    assert f"queue {queue!r}: created when a worker starts" in text
    assert "the clocks agree" in text
    assert set(raw.keys()) == before


def test_a_queue_that_is_missing(redis_server: RedisServer, queue: str) -> None:
    """With what to do."""
    [(ok, text)] = texts(ask(queue, url=redis_server.url, create=False))

    assert not ok
    assert f"has no queue {queue!r}; create it, or set `create: true`" in text


def test_a_server_that_is_away(queue: str) -> None:
    """It is named."""
    [(ok, text)] = texts(ask(queue, host="127.0.0.1", port=1))

    assert not ok
    assert "127.0.0.1:1" in text


def test_a_server_that_never_answers(queue: str) -> None:
    """Within the connector's own timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        found = ask(queue, host="127.0.0.1", port=silent.getsockname()[1], timeout=0.5)

    assert [each.ok for each in found] == [False, False]
    assert time.monotonic() - started < 10


def test_a_wrong_password_and_a_missing_right(own_redis: Any, queue: str) -> None:
    """Neither shows the password."""
    server = own_redis("--requirepass", "r1ght-w0rd")
    with redis.Redis(server.host, server.port, password="r1ght-w0rd") as admin:
        admin.acl_setuser("reader", enabled=True, passwords=["+s3cr3t"], commands=["+ping"], keys=["*"])

    [(ok, text)] = texts(ask(queue, host=server.host, port=server.port, password="wr0ng-w0rd"))
    assert not ok
    assert "check `username` and `password`" in text
    assert "wr0ng" not in text

    [(ok, text)] = texts(ask(queue, host=server.host, port=server.port, username="reader", password="s3cr3t"))
    assert not ok
    assert "lists the commands that the user needs" in text
    assert "s3cr3t" not in text


def test_a_clock_that_is_off(redis_server: RedisServer, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is this machine's that lags."""
    monkeypatch.setattr("penstock_rsmq.client.time", lambda: time.time() - 60)

    [(ok, text)] = texts(ask(queue, url=redis_server.url))

    assert not ok
    assert "the server's clock is 60 s ahead of this machine's" in text
