"""TLS and credentials: what is wrong is said with the option to look at, and no secret."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.servers.pubsub import PROJECT, PubSubServer

from penstock.errors import ConnectorError, FatalConnectorError
from penstock.message import Record
from penstock_gcp.consumer import PubSubConsumer
from penstock_gcp.options import PubSubOptions
from penstock_gcp.producer import PubSubProducer

TOKEN = "t0ken-of-the-test"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class TokenServer(HTTPServer):
    """Google's token server for one account: gives `answer` to every question."""

    def __init__(self) -> None:
        self.status, self.answer = 200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(outer.status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(outer.answer).encode())

            def log_message(self, *_arguments: object) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def account(tokens: TokenServer, tmp_path: Path) -> tuple[str, str]:
    """The file of a service account's key, and the key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    content = {
        "type": "service_account",
        "client_email": "worker@test.example",
        "private_key": key.decode(),
        "private_key_id": "1",
        "token_uri": f"http://127.0.0.1:{tokens.server_port}/token",
    }
    (tmp_path / "account.json").write_text(json.dumps(content))
    return str(tmp_path / "account.json"), key.decode().splitlines()[1]


class Guarded:
    """A server with TLS that asks for the token."""

    def __init__(self, own_pubsub: Callable[..., PubSubServer], account: str, folder: Path) -> None:
        self._start, self._account, self._folder = own_pubsub, account, folder
        self.authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def options(self, name: str = "localhost", **over: Any) -> PubSubOptions:
        """For a server whose certificate is for `name`."""
        times = {key: over.pop(key) for key in ("not_before", "not_after") if key in over}
        certificate = self.authority.issue_cert(name, **times)
        chain, key = self._folder / "chain.pem", self._folder / "key.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(key)
        server = self._start("-token", TOKEN, "-cert", str(chain), "-key", str(key))
        usual = {"endpoint": f"localhost:{server.port}", "ca": self.ca, "service_account": self._account}
        return PubSubOptions(**{**usual, "project": PROJECT, "create": True, "timeout": 5.0, **over})


@pytest.fixture
def guarded(own_pubsub: Callable[..., PubSubServer], account: tuple[str, str], tmp_path: Path) -> Guarded:
    return Guarded(own_pubsub, account[0], tmp_path)


async def passes(options: PubSubOptions) -> None:
    """One message there and back."""
    producer, consumer = PubSubProducer("queue", options), PubSubConsumer("queue", options)
    try:
        await producer.connect()
        await consumer.connect()
        assert not any(await producer.produce([Record(b"private")]))
        [message] = await consumer.consume(1, 5.0)
        assert message.message == b"private"
        await consumer.on_success([message])
    finally:
        await consumer.shutdown()
        await producer.shutdown()


def refusal(options: PubSubOptions) -> str:
    """What is said, with everything that stands behind it."""
    with pytest.raises(ConnectorError) as refused:
        asyncio.run(passes(options))
    assert isinstance(refused.value, FatalConnectorError), str(refused.value)
    return str(refused.value)


def test_an_account_and_an_authority_let_messages_pass(guarded: Guarded) -> None:
    """The key of a service account, and the authority of the server's certificate."""
    asyncio.run(passes(guarded.options()))


def test_a_certificate_of_an_unknown_authority_is_refused(guarded: Guarded) -> None:
    """gRPC's own authorities do not know it."""
    assert "is not trusted; name its authority's file in `ca`" in refusal(guarded.options(ca=None))


def test_an_expired_certificate_is_refused(guarded: Guarded) -> None:
    """Nothing that an option could mend."""
    times = {"not_before": LONG_AGO, "not_after": LONG_AGO + datetime.timedelta(days=9)}
    assert "certificate has expired" in refusal(guarded.options(**times))


def test_a_certificate_of_another_name_is_refused(guarded: Guarded) -> None:
    """Trusted, but not the server that was called."""
    assert "for another name; write that name as the host of `endpoint`" in refusal(guarded.options("other.example"))


def test_an_account_that_google_does_not_know_is_refused(
    guarded: Guarded, tokens: TokenServer, account: tuple[str, str]
) -> None:
    """The token server says so; the key is not shown."""
    tokens.status, tokens.answer = 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    said = refusal(guarded.options())
    assert "`service_account`" in said
    assert account[1] not in said


def test_a_token_that_pubsub_does_not_take_is_refused(guarded: Guarded, tokens: TokenServer) -> None:
    """UNAUTHENTICATED, with the option; the token is not shown."""
    tokens.answer["access_token"] = "an0ther-token"
    said = refusal(guarded.options())
    assert "`service_account`" in said
    assert "an0ther-token" not in said


def test_a_file_that_is_not_a_key_is_named_by_its_option(guarded: Guarded, tmp_path: Path) -> None:
    """Its content is not quoted."""
    (tmp_path / "wrong.json").write_text('{"private_key": "s3cret"}')
    said = refusal(guarded.options(service_account=str(tmp_path / "wrong.json")))
    assert "the file of `service_account` cannot be used" in said
    assert "s3cret" not in said
