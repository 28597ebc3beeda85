"""TLS on a real server: a certificate that is rejected, or a password, is named by its option, without a secret."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_rsmq.consumer import RsmqConsumer
from penstock_rsmq.producer import RsmqProducer

PASSWORD = "r1ght-w0rd"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """One that the tests trust, if they are told."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """The option that trusts it."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"ca": str(tmp_path / "ca.pem")}


def refusal(opener: Any, queue: str, kind: type[ConnectorError], **where: Any) -> str:
    """What both sides say when they cannot connect."""

    async def connect(connector: Any) -> str:
        try:
            with pytest.raises(kind) as caught:
                await connector.connect()
            return str(caught.value)
        finally:
            await connector.shutdown()

    options = opener.options(**where)
    texts = {asyncio.run(connect(side(queue, options))) for side in (RsmqConsumer, RsmqProducer)}
    assert len(texts) == 1
    return texts.pop()


def test_messages_pass_with_a_trusted_certificate_and_a_password(
    tls_redis: Any, authority: trustme.CA, trusted: dict[str, str], opener: Any, consumed: Any
) -> None:
    """No proxy between."""
    host, port = tls_redis(authority.issue_cert("localhost"), "--requirepass", PASSWORD)
    where = {"host": host, "port": port, "password": PASSWORD, "tls": trusted}

    async def main() -> None:
        async with opener.producer(**where) as producer, opener.consumer(**where) as consumer:
            assert not any(await producer.produce([Record(b"private")]))
            assert [m.message for m in await consumed(consumer, 1)] == [b"private"]

    asyncio.run(main())


def test_another_authority_an_expired_one_and_another_name_are_told_apart(
    tls_redis: Any, authority: trustme.CA, trusted: dict[str, str], opener: Any, queue: str
) -> None:
    """Each text says what to change."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    for certificate, words in (
        (trustme.CA().issue_cert("localhost"), "`tls.ca`"),
        (authority.issue_cert("localhost", not_after=yesterday), "expired"),
        (authority.issue_cert("elsewhere.example"), "host"),
    ):
        host, port = tls_redis(certificate)
        text = refusal(opener, queue, NotConnected, host=host, port=port, tls=trusted)
        assert words in text.partition("certificate verify failed")[2]


def test_a_wrong_password_is_fatal_and_stays_secret(
    tls_redis: Any, authority: trustme.CA, trusted: dict[str, str], opener: Any, queue: str
) -> None:
    """The text names the options."""
    host, port = tls_redis(authority.issue_cert("localhost"), "--requirepass", PASSWORD)
    where = {"host": host, "port": port, "tls": trusted, "password": "wr0ng-w0rd"}

    text = refusal(opener, queue, FatalConnectorError, **where)
    assert "`password`" in text
    assert "w0rd" not in text
