"""TLS: a server is verified, and what is wrong with its certificate is told with the option to look at."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from http_scripted import Scripted, scripted

from penstock.errors import NotConnected
from penstock.message import Record
from penstock_http.options import PollOptions, WebhookOptions
from penstock_http.poll import PollConsumer
from penstock_http.webhook import WebhookProducer

LAST_YEAR = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=365)


def context(certificate: trustme.LeafCert, asks: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's; `asks` for a certificate of that authority."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(made)
    if asks is not None:
        asks.configure_trust(made)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, str]:
    """An authority, and its file."""
    made = trustme.CA()
    path = tmp_path / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return made, str(path)


async def talk(server: Scripted, **tls: Any) -> None:
    """Send a record and read it, with these options under `tls`."""
    producer = WebhookProducer(server.url, WebhookOptions.model_validate({"tls": tls, "token": "s3cr3t"}))
    consumer = PollConsumer(server.url, PollOptions.model_validate({"tls": tls, "token": "s3cr3t"}))
    try:
        await producer.connect()
        assert await producer.produce([Record(b"{}")]) == [None]
        await consumer.connect()
        [message] = await consumer.consume(1, 10)
        assert message.message == b"read"
    finally:
        await producer.shutdown()
        await consumer.shutdown()


def test_a_server_of_a_trusted_authority_is_talked_to(authority: tuple[trustme.CA, str]) -> None:
    """Named by `tls.ca`."""
    made, path = authority

    async def main() -> None:
        tls = context(made.issue_cert("localhost"))
        async with scripted(web.Response(body=b"read"), tls=tls) as server:
            await talk(server, ca=path)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("authority", "name its authority's file in `tls.ca`"),
        ("expired", "certificate has expired; it must be renewed"),
        ("name", "is for another name"),
    ],
)
def test_a_certificate_that_is_wrong_is_told_and_waited_for(
    what: str, text: str, authority: tuple[trustme.CA, str]
) -> None:
    """By both sides, without a secret, and nothing is sent."""
    made, path = authority
    issuer = trustme.CA() if what == "authority" else made
    name = "elsewhere.example" if what == "name" else "localhost"
    certificate = issuer.issue_cert(name, not_after=LAST_YEAR) if what == "expired" else issuer.issue_cert(name)

    async def main() -> None:
        async with scripted(200, tls=context(certificate)) as server:
            for kind, options in ((WebhookProducer, WebhookOptions), (PollConsumer, PollOptions)):
                connector: Any = kind(server.url, options.model_validate({"tls": {"ca": path}, "token": "s3cr3t"}))
                with pytest.raises(NotConnected) as caught:
                    await connector.connect()
                await connector.shutdown()
                assert text in str(caught.value)
                assert "s3cr3t" not in str(caught.value)
            assert server.asked == []

    asyncio.run(main())


def test_a_server_may_ask_for_a_certificate(authority: tuple[trustme.CA, str], tmp_path: Path) -> None:
    """Shown by `tls.cert` and `tls.key`; without them the connection is refused."""
    made, path = authority
    ours = made.issue_cert("worker@example")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    ours.cert_chain_pems[0].write_to_path(cert)
    ours.private_key_pem.write_to_path(key)

    async def main() -> None:
        tls = context(made.issue_cert("localhost"), asks=made)
        async with scripted(web.Response(body=b"read"), tls=tls) as server:
            await talk(server, ca=path, cert=cert, key=key)
            with pytest.raises(NotConnected):
                await talk(server, ca=path)

    asyncio.run(main())


def test_verification_is_off_only_when_told(authority: tuple[trustme.CA, str]) -> None:
    """`insecure_skip_verify` accepts anything."""
    made, _path = authority

    async def main() -> None:
        tls = context(made.issue_cert("elsewhere.example"))
        async with scripted(web.Response(body=b"read"), tls=tls) as server:
            await talk(server, insecure_skip_verify=True)

    asyncio.run(main())
