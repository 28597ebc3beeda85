"""TLS and users on a real server: what is rejected names the option to look at, and no secret."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record

PASSWORD = "r1ght-w0rd"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """One that the tests trust, if they are told."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> str:
    """Its certificate's file."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def refusal(opener: Any, kind: str, expected: type[ConnectorError], **where: Any) -> str:
    """What both sides say when they cannot connect."""

    async def connect(side: int) -> str:
        connector = opener.make(kind, side, **where)
        try:
            with pytest.raises(expected) as caught:
                await connector.connect()
            return str(caught.value)
        finally:
            await connector.shutdown()

    texts = {asyncio.run(connect(side)) for side in (0, 1)}
    assert len(texts) == 1
    return texts.pop()


@pytest.mark.parametrize("kind", ["streams", "lists", "pubsub"])
def test_messages_pass_where_the_certificate_is_trusted(
    tls_redis: Any, authority: trustme.CA, trusted: str, opener: Any, consumed: Any, kind: str
) -> None:
    """By host and port, and by a rediss:// URL; with user and password."""
    host, port = tls_redis(authority.issue_cert("localhost"), "--requirepass", PASSWORD)
    tls = {"ca": trusted}

    async def main() -> None:
        by_url = {"url": f"rediss://:{PASSWORD}@{host}:{port}/0", "tls": tls}
        by_host = {"host": host, "port": port, "password": PASSWORD, "tls": tls}
        async with opener.consumer(kind, **by_url) as consumer, opener.producer(kind, **by_host) as producer:
            assert not any(await producer.produce([Record(b"private")]))
            messages = await consumed(consumer, 1)
            assert [message.message for message in messages] == [b"private"]
            await consumer.on_success(messages)

    asyncio.run(main())


def test_a_certificate_of_another_authority_is_rejected(tls_redis: Any, trusted: str, opener: Any) -> None:
    """The text names `tls.ca`."""
    host, port = tls_redis(trustme.CA().issue_cert("localhost"))

    for tls in ({"ca": trusted}, True):
        assert "`tls.ca`" in refusal(opener, "streams", NotConnected, host=host, port=port, tls=tls)


def test_an_expired_certificate_is_rejected(tls_redis: Any, authority: trustme.CA, trusted: str, opener: Any) -> None:
    """The text says so, and not that the authority is unknown."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    host, port = tls_redis(authority.issue_cert("localhost", not_after=yesterday))

    text = refusal(opener, "streams", NotConnected, host=host, port=port, tls={"ca": trusted})
    assert "expired" in text


def test_a_certificate_of_another_name_is_rejected(
    tls_redis: Any, authority: trustme.CA, trusted: str, opener: Any
) -> None:
    """The text names the host, as the option to change."""
    host, port = tls_redis(authority.issue_cert("elsewhere.example"))

    assert "host" in refusal(opener, "streams", NotConnected, host=host, port=port, tls={"ca": trusted})


def test_a_wrong_password_is_fatal_and_stays_secret(
    tls_redis: Any, authority: trustme.CA, trusted: str, opener: Any
) -> None:
    """Trying again would not help: stop, and name the options."""
    host, port = tls_redis(authority.issue_cert("localhost"), "--requirepass", PASSWORD)

    for secret in ({}, {"password": "wr0ng-w0rd"}):
        text = refusal(opener, "streams", FatalConnectorError, host=host, port=port, tls={"ca": trusted}, **secret)
        assert "`password`" in text
        assert "w0rd" not in text


def needed_commands() -> list[str]:
    """What the README tells people to permit."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return readme.split("## Commands that an ACL user needs")[1].split("```")[1].split()


@pytest.mark.parametrize("kind", ["streams", "lists", "pubsub"])
def test_the_commands_that_the_readme_lists_are_enough(
    own_redis: Any, queue: str, opener: Any, consumed: Any, kind: str
) -> None:
    """A user with these and no others does everything; CONFIG, which only warnings need, is not among them."""
    server = own_redis()
    where = {"host": server.host, "port": server.port}
    with redis.Redis(**where) as admin:
        allowed = [f"+{command}" for command in needed_commands()]
        keys = ("resetchannels", f"~{queue}", f"~{{{queue}}}:penstock:*", f"&{queue}")
        admin.execute_command("ACL", "SETUSER", "worker", "on", ">pw", *keys, *allowed)

    async def main() -> None:
        who = {"username": "worker", "password": "pw", **where}
        more = {"max_length": 2} if kind == "streams" else {}
        async with opener.consumer(kind, **who, **more) as consumer, opener.producer(kind, **who, **more) as producer:
            assert not any(await producer.produce([Record(b"x")] * 3))
            messages = await consumed(consumer, 3)
            await consumer.extend(messages)
            await consumer.begin_call(messages[:1])
            await consumer.on_fail(messages[:1])
            assert not await consumer.on_success([*messages[1:], *await consumed(consumer, 1)])
            if kind != "pubsub":
                assert (await consumer.backlog()).waiting == await consumer.lag() == 0
            if kind == "streams":
                await consumer.browse(10)
            await consumer.probe()

    asyncio.run(main())


def test_a_missing_permission_is_fatal(own_redis: Any, opener: Any) -> None:
    """NOPERM says which command, and where the list of commands is."""
    server = own_redis()
    with redis.Redis(host=server.host, port=server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "worker", "on", ">pw", "~*", "&*", "+ping")
    where = {"host": server.host, "port": server.port, "username": "worker", "password": "pw"}

    for kind in ("streams", "lists"):
        assert "README" in refusal(opener, kind, FatalConnectorError, **where)
