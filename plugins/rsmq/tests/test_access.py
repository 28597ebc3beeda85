"""Which clients the server accepts, what a rejected one reads, without a secret, and which warnings are logged."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from penstock.errors import FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_rsmq.consumer import RsmqConsumer
from penstock_rsmq.options import RsmqOptions
from penstock_rsmq.producer import RsmqProducer


def refusal(name: str, options: RsmqOptions, kind: type[Exception]) -> str:
    """What both sides say when they cannot connect."""

    async def connect(connector: Any) -> str:
        try:
            with pytest.raises(kind) as caught:
                await connector.connect()
            return str(caught.value)
        finally:
            await connector.shutdown()

    texts = {asyncio.run(connect(side(name, options))) for side in (RsmqConsumer, RsmqProducer)}
    assert len(texts) == 1
    return texts.pop()


def test_an_unreachable_server_is_not_connected_and_named(queue: str) -> None:
    """Host and port are shown, the password is not."""
    started = time.monotonic()
    text = refusal(queue, RsmqOptions(url=SecretStr("redis://:s3cr3t@127.0.0.1:1/0")), NotConnected)

    assert "127.0.0.1:1" in text
    assert "s3cr3t" not in text
    assert time.monotonic() - started < 5


def test_a_host_that_does_not_exist_is_not_connected(queue: str) -> None:
    """A name that does not resolve may do so later; the error says which name."""
    assert "no-such-host.invalid" in refusal(queue, RsmqOptions(host="no-such-host.invalid", timeout=2), NotConnected)


@pytest.mark.parametrize("password", [None, "wr0ng-w0rd"], ids=["no password", "a wrong password"])
def test_a_refused_password_is_fatal_and_stays_secret(own_redis: Any, queue: str, password: str | None) -> None:
    """Trying again would not help: stop, and name the remedy, not the secret."""
    server = own_redis("--requirepass", "r1ght-w0rd")
    secret = None if password is None else SecretStr(password)
    text = refusal(queue, RsmqOptions(host=server.host, port=server.port, password=secret), FatalConnectorError)

    assert f"{server.host}:{server.port}" in text
    assert "REDIS_PASSWORD" in text
    assert "w0rd" not in text


def needed_commands() -> list[str]:
    """What the README tells people to permit."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return readme.split("## Commands that an ACL user needs")[1].split("```")[1].split()


def test_the_commands_that_the_readme_lists_are_enough(own_redis: Any, queue: str, opener: Any, consumed: Any) -> None:
    """A user with these and no others does everything; CONFIG, which only warnings need, is not among them."""
    server = own_redis("--appendonly", "no")
    where = {"host": server.host, "port": server.port}
    with redis.Redis(**where) as admin:
        admin.execute_command(
            "ACL", "SETUSER", "worker", "on", ">pw", "~rsmq:*", *(f"+{name}" for name in needed_commands())
        )

    async def main() -> None:
        who = {"username": "worker", "password": "pw"}
        async with opener.producer(**where, **who) as producer, opener.consumer(**where, **who) as consumer:
            assert not any(await producer.produce([Record(b"x")] * 3))
            messages = await consumed(consumer, 3)
            await consumer.extend(messages)
            await consumer.on_fail(messages[:1])
            assert await consumer.on_success(messages[1:]) == 0
            assert await consumer.lag() == 1
            assert [message.message for message in await consumer.browse(10)] == [b"x"]

    asyncio.run(main())


def test_a_missing_permission_is_fatal(own_redis: Any, queue: str) -> None:
    """NOPERM says which command, and where the list of commands is."""
    server = own_redis()
    with redis.Redis(host=server.host, port=server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "worker", "on", ">pw", "~rsmq:*", "+time")
    options = RsmqOptions(host=server.host, port=server.port, username="worker", password=SecretStr("pw"))

    assert "README" in refusal(queue, options, FatalConnectorError)


def test_a_server_that_may_lose_the_queue_is_warned_of_once(
    own_redis: Any, opener: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No append-only file, or keys that may be evicted: one line each, not again at a reconnect."""
    server = own_redis("--appendonly", "no", "--maxmemory-policy", "allkeys-lru")

    async def main() -> None:
        async with opener.consumer(host=server.host, port=server.port) as consumer:
            await consumer.connect()

    with caplog.at_level(logging.WARNING, "penstock.rsmq"):
        asyncio.run(main())

    assert [record.message.split(" has ")[1].split(":")[0] for record in caplog.records] == [
        "appendonly off",
        "maxmemory-policy allkeys-lru",
    ]


def test_a_durable_server_is_not_warned_of(own_redis: Any, opener: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without the right to look, nothing is logged."""
    server = own_redis()

    async def main() -> None:
        async with opener.consumer(host=server.host, port=server.port):
            pass

    with caplog.at_level(logging.WARNING, "penstock.rsmq"):
        asyncio.run(main())

    assert caplog.records == []
