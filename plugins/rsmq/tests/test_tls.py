"""TLS: the server is verified, unless an option turns that off."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.redis import RedisServer
from tests.servers.requirement import missing
from tests.servers.tls_front import TlsFront

from penstock.errors import NotConnected
from penstock.message import Record


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for `localhost`, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl", "no openssl on PATH, which makes the certificate")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = [str(openssl), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls_port(redis_server: RedisServer, certificate: tuple[Path, Path]) -> Iterator[int]:
    """A port that speaks TLS and passes what it decrypts to the test server, which may be built without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    front = TlsFront()
    yield front.listen(context, redis_server.host, redis_server.port)
    front.close()


async def passes(opener: Any, consumed: Any, **where: Any) -> None:
    async with opener.producer(**where) as producer, opener.consumer(**where) as consumer:
        assert not any(await producer.produce([Record(b"private")]))
        assert [m.message for m in await consumed(consumer, 1)] == [b"private"]


def test_messages_pass_where_the_certificate_is_trusted(
    opener: Any, consumed: Any, tls_port: int, certificate: tuple[Path, Path]
) -> None:
    """By host and port, and by a rediss:// URL."""
    trust = {"tls": {"ca": str(certificate[0])}}

    where = opener.through("localhost", tls_port)
    asyncio.run(passes(opener, consumed, **where, **trust))

    where = {key: where[key] for key in ("db", "username", "password")} | {"url": f"rediss://localhost:{tls_port}"}
    asyncio.run(passes(opener, consumed, **where, **trust))


def test_a_certificate_without_a_trusted_signature_is_rejected(opener: Any, consumed: Any, tls_port: int) -> None:
    """`tls: true` trusts the system's authorities and no others."""
    with pytest.raises(NotConnected, match="certificate verify failed"):
        asyncio.run(passes(opener, consumed, host="localhost", port=tls_port, tls=True))


def test_a_certificate_of_another_host_is_rejected(
    opener: Any, consumed: Any, tls_port: int, certificate: tuple[Path, Path]
) -> None:
    """Trusted, but made out to localhost, not to the address that was called."""
    with pytest.raises(NotConnected, match="certificate verify failed"):
        asyncio.run(passes(opener, consumed, host="127.0.0.1", port=tls_port, tls={"ca": str(certificate[0])}))


def test_verification_is_off_only_when_told(opener: Any, consumed: Any, tls_port: int) -> None:
    """insecure_skip_verify accepts anything."""
    where = opener.through("127.0.0.1", tls_port)
    asyncio.run(passes(opener, consumed, **where, tls={"insecure_skip_verify": True}))
