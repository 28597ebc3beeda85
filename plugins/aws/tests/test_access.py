"""TLS on a real socket, and what a worker says when it is not let in: the option to look at, and no secret."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from botocore.exceptions import ClientError
from tests.servers.sqs import AwsServer
from tests.servers.tls_front import TlsFront

from penstock.errors import FatalConnectorError
from penstock.message import Record
from penstock_aws.consumer import SqsConsumer
from penstock_aws.errors import ERRORS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """One that the tests trust, if they are told."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """The option that trusts it."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"ca": str(tmp_path / "ca.pem")}


@pytest.fixture
def tls_port(sqs_server: AwsServer) -> Iterator[Callable[[trustme.LeafCert], int]]:
    """`tls_port(certificate)`: a port that shows it, before the server, which speaks no TLS itself."""
    front = TlsFront()

    def start(certificate: trustme.LeafCert) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return front.listen(context, sqs_server.host, sqs_server.port)

    yield start
    front.close()


def refusal(opener: Any, port: int, host: str = "localhost", **options: Any) -> str:
    """What a consumer says when it cannot connect for good."""

    async def main() -> str:
        consumer = SqsConsumer(opener.queue, opener.options(endpoint_url=f"https://{host}:{port}", **options))
        try:
            with pytest.raises(FatalConnectorError) as refused:
                await consumer.connect()
            return str(refused.value)
        finally:
            await consumer.shutdown()

    return asyncio.run(main())


def test_messages_pass_with_a_trusted_certificate(
    opener: Any, consumed: Any, authority: trustme.CA, trusted: dict[str, str], tls_port: Any
) -> None:
    """The whole way and back, by the name in the certificate."""
    where = {"endpoint_url": f"https://localhost:{tls_port(authority.issue_cert('localhost'))}", "tls": trusted}

    async def main() -> None:
        async with opener.producer(**where) as producer, opener.consumer(**where) as consumer:
            assert not any(await producer.produce([Record(b"private")]))
            assert await consumer.on_success(await consumed(consumer, 1)) == 0

    asyncio.run(main())


def test_certificates_that_do_not_prove_the_server_are_named_by_their_option(
    opener: Any, authority: trustme.CA, trusted: dict[str, str], tls_port: Any
) -> None:
    """Wrong authority, expired, another name: each ends the worker, with what to do."""
    good = tls_port(authority.issue_cert("localhost"))
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired = tls_port(authority.issue_cert("localhost", not_after=yesterday))

    assert "`tls.ca`" in refusal(opener, good)
    assert "expired" in refusal(opener, expired, tls=trusted)
    assert "another name" in refusal(opener, good, "127.0.0.1", tls=trusted)


@pytest.mark.parametrize(
    ("code", "option"),
    [
        ("InvalidClientTokenId", "`secret_access_key`"),
        ("SignatureDoesNotMatch", "`secret_access_key`"),
        ("ExpiredToken", "`secret_access_key`"),
        ("AccessDenied", "permissions"),
    ],
)
def test_what_aws_says_to_wrong_credentials_is_for_good(code: str, option: str) -> None:
    """No server here checks signatures; these are the codes that AWS documents."""
    answer: Any = {"Error": {"Code": f"com.amazonaws.sqs#x.{code}", "Message": "no"}}
    error = ERRORS.translate(ClientError(answer, "ReceiveMessage"), "sqs in eu-west-1")

    assert isinstance(error, FatalConnectorError)
    assert option in str(error)


def test_no_credentials_at_all_are_named(opener: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither in the options nor on the machine."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    async def main() -> None:
        options = opener.options(access_key_id=None, secret_access_key=None)
        consumer = SqsConsumer(opener.queue, options)
        with pytest.raises(FatalConnectorError, match="access_key_id"):
            await consumer.connect()
        await consumer.shutdown()

    asyncio.run(main())
