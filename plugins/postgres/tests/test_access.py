"""TLS and passwords on a real server, for every connector: what is rejected names the part of `dsn`, and no secret."""

from __future__ import annotations

import asyncio
import datetime
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from tests.servers.postgres import OwnPostgresServer, PostgresServer
from tests.servers.requirement import missing

from penstock.errors import FatalConnectorError
from penstock.standalone import make_consumer, resolve

CONNECTORS = ("postgres", "postgres.table", "postgres.changes", "postgres.poll")
PASSWORD = "r1ght-w0rd"
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"

Show = Callable[[trustme.LeafCert], None]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """One that the tests trust."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> str:
    """Its certificate's file."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def shown(server: PostgresServer) -> bytes | None:
    """The certificate that the server shows now; None if it does not speak TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((server.host, server.port), 5) as plain:
        plain.sendall(SSL_REQUEST)
        if plain.recv(1) != b"S":
            return None
        with context.wrap_socket(plain) as secured:
            return secured.getpeercert(binary_form=True)


@pytest.fixture
def show(postgres: PostgresServer) -> Iterator[Show]:
    """`show(certificate)`: from now on the server shows it; without TLS at the end."""
    if not isinstance(postgres, OwnPostgresServer):
        missing("postgres-tls", "the server of PENSTOCK_TEST_POSTGRES cannot be given certificates; unset it")
    data = postgres.data

    def install(certificate: trustme.LeafCert) -> None:
        for name, blobs in (("test.crt", certificate.cert_chain_pems), ("test.key", [certificate.private_key_pem])):
            (data / name).write_bytes(b"".join(blob.bytes() for blob in blobs))
            (data / name).chmod(0o600)
            if postgres.user is not None:
                shutil.chown(data / name, postgres.user)
        try:
            configure("ssl_cert_file = 'test.crt'", "ssl_key_file = 'test.key'", "ssl = on")
        except psycopg.errors.InvalidParameterValue:
            missing("postgres-tls", "this PostgreSQL was built without TLS; install another one")
        wanted = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
        deadline = time.monotonic() + 5
        while shown(postgres) != wanted:
            assert time.monotonic() < deadline, "the server does not show the certificate"
            time.sleep(0.05)

    def configure(*settings: str) -> None:
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            for setting in settings:
                connection.execute(f"ALTER SYSTEM SET {setting}")
            connection.execute("SELECT pg_reload_conf()")

    yield install
    configure("ssl = off")


def refusal(connector: str, dsn: str, **parts: Any) -> str:
    """What an input of this connector says when it cannot connect."""
    whole = psycopg.conninfo.make_conninfo(dsn, **parts)
    settings = {"connector": connector, "value": "orders", "config": {"dsn": whole, "timeout": 5}}
    consumer = make_consumer(resolve(settings, "input", {}))

    async def main() -> str:
        try:
            with pytest.raises(FatalConnectorError) as caught:
                await consumer.connect()
            return str(caught.value)
        finally:
            await consumer.shutdown()

    return asyncio.run(main())


@pytest.fixture
def user(sql: Any, schema: str) -> str:
    """A role with a password, which scram proves."""
    sql(f"CREATE ROLE user_{schema} LOGIN PASSWORD '{PASSWORD}'")
    return f"user_{schema}"


def test_scram_over_a_verified_connection(
    show: Show, authority: trustme.CA, trusted: str, dsn: str, user: str, postgres: PostgresServer
) -> None:
    """The server is verified, and so is the role: what is missing now is the table."""
    show(authority.issue_cert(postgres.host))

    text = refusal(
        "postgres",
        dsn,
        user=user,
        password=PASSWORD,
        sslmode="verify-full",
        sslrootcert=trusted,
        channel_binding="require",
    )
    assert "penstock postgres migrate" in text


@pytest.mark.parametrize("connector", CONNECTORS)
def test_a_wrong_password_is_fatal_and_stays_secret(
    show: Show, authority: trustme.CA, trusted: str, dsn: str, user: str, connector: str, postgres: PostgresServer
) -> None:
    """It will be as wrong the next time."""
    show(authority.issue_cert(postgres.host))
    tls = {"sslmode": "verify-full", "sslrootcert": trusted}

    text = refusal(connector, dsn, user=user, password="wr0ng-w0rd", **tls)

    assert "user and password of `dsn`" in text
    assert "w0rd" not in text


@pytest.mark.parametrize("connector", CONNECTORS)
def test_a_certificate_that_cannot_be_trusted_is_fatal(
    show: Show, authority: trustme.CA, trusted: str, dsn: str, user: str, connector: str, postgres: PostgresServer
) -> None:
    """Of another authority, expired, of another name: each names the part of `dsn` to look at."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    cases = (
        (trustme.CA().issue_cert(postgres.host), "`sslrootcert`"),
        (authority.issue_cert(postgres.host, not_after=yesterday), "expired"),
        (authority.issue_cert("elsewhere.example"), "(`host`)"),
    )
    for certificate, words in cases:
        show(certificate)

        text = refusal(connector, dsn, user=user, password=PASSWORD, sslmode="verify-full", sslrootcert=trusted)

        assert words in text
        assert "`dsn`" in text
        assert PASSWORD not in text


def test_a_server_without_tls_is_not_talked_to_in_the_clear(dsn: str, user: str) -> None:
    """The text names `sslmode`."""
    text = refusal("postgres", dsn, user=user, password=PASSWORD, sslmode="require")

    assert "`sslmode`" in text
    assert PASSWORD not in text
