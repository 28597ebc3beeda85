"""TLS: the server is verified, and what is wrong is said with the option to look at."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.servers.nats import NatsServer

from penstock.errors import FatalConnectorError
from penstock.message import Record
from penstock_nats.options import NatsOptions
from penstock_nats.producer import NatsProducer

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)

Secured = Callable[..., NatsOptions]


@pytest.fixture
def secured(own_nats: Callable[..., NatsServer], tmp_path: Path) -> Secured:
    """Options for a server of the test's own with TLS, whose certificate is for `name`."""

    def start(name: str = "localhost", trusted: bool = True, **times: Any) -> NatsOptions:
        authority = trustme.CA()
        certificate = authority.issue_cert(name, **times)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(key)
        server = own_nats("--tls", "--tlscert", str(chain), "--tlskey", str(key))
        tls: Any = {"ca": str(tmp_path / "ca.pem")} if trusted else True
        return NatsOptions(servers=f"tls://localhost:{server.port}", tls=tls)

    return start


async def produce(options: NatsOptions) -> None:
    producer = NatsProducer("queue", options)
    try:
        await producer.connect()
        assert not any(await producer.produce([Record(b"private")]))
    finally:
        await producer.shutdown()


def refusal(options: NatsOptions) -> str:
    with pytest.raises(FatalConnectorError) as refused:
        asyncio.run(produce(options))
    return str(refused.value)


def test_a_trusted_certificate_lets_messages_pass(secured: Secured) -> None:
    """By the file of its authority."""
    asyncio.run(produce(secured()))


def test_a_certificate_of_an_unknown_authority_is_refused(secured: Secured) -> None:
    """`tls: true` trusts the system's authorities and no others."""
    assert "name its authority's file in `tls.ca`" in refusal(secured(trusted=False))


def test_an_expired_certificate_is_refused(secured: Secured) -> None:
    """Nothing that an option could mend."""
    times = {"not_before": LONG_AGO, "not_after": LONG_AGO + datetime.timedelta(days=9)}
    assert "certificate has expired" in refusal(secured(**times))


def test_a_certificate_of_another_name_is_refused(secured: Secured) -> None:
    """Trusted, but not the server that was called."""
    assert "write that name as the host" in refusal(secured("other.example"))
