"""The option `tls`: checked without a server, and an error of a certificate in words that name an option."""

from __future__ import annotations

import ssl
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from penstock.tls import TlsOptions, certificate_problem, tls_context, tls_problems


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A self-signed certificate for `db.example`, and its key."""
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=db.example"]
    command += ["-addext", "subjectAltName=DNS:db.example", "-out", certificate, "-keyout", key]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def shaken_hands(client: ssl.SSLContext, files: tuple[str, str], host: str) -> None:
    """A handshake in memory with a server that has this certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*files)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _flight in range(4):
        for end in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()


def test_without_tls_there_is_no_context() -> None:
    """A client takes None for a plain connection."""
    assert tls_context(False) is None
    assert tls_problems(False) == tls_problems(True) == []


def test_the_server_is_verified_unless_told_not_to(files: tuple[str, str]) -> None:
    """By authority and by name; only insecure_skip_verify turns that off."""
    for tls in (True, TlsOptions()):
        strict = tls_context(tls)
        assert strict is not None
        with pytest.raises(ssl.SSLCertVerificationError):
            shaken_hands(strict, files, "db.example")
    trusting, lax = tls_context(TlsOptions(ca=files[0])), tls_context(TlsOptions(insecure_skip_verify=True))
    assert trusting is not None
    assert lax is not None
    shaken_hands(trusting, files, "db.example")
    shaken_hands(lax, files, "other.example")


def test_our_own_certificate_is_shown(files: tuple[str, str]) -> None:
    """To a server that asks for one."""
    context = tls_context(TlsOptions(ca=files[0], cert=files[0], key=files[1]))

    assert context is not None
    with pytest.raises(OSError, match="No such file"):
        tls_context(TlsOptions(cert="/nowhere.pem"))


@pytest.mark.parametrize(
    ("options", "host", "words"),
    [
        ({}, "db.example", "`tls.ca`"),
        ({"ca": True}, "other.example", "write that name as the host"),
    ],
)
def test_an_error_of_a_certificate_names_the_option(
    options: dict[str, Any], host: str, words: str, files: tuple[str, str]
) -> None:
    """Also if the client wraps it in an error of its own."""
    context = tls_context(TlsOptions(ca=files[0] if options else None))
    assert context is not None
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        shaken_hands(context, files, host)
    wrapped = ConnectionError("connection lost")
    wrapped.__cause__ = refused.value

    assert words in str(certificate_problem(wrapped))
    assert certificate_problem(ConnectionError("refused")) is None


def test_an_expired_certificate_is_named() -> None:
    """The remedy is with the server."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 10, "certificate has expired"

    assert "expired" in str(certificate_problem(error))


def test_a_client_s_own_error_of_a_certificate_leads_to_its_cause() -> None:
    """aiohttp derives one from the library's error, and leaves the code out."""
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_code, cause.verify_message = 10, "certificate has expired"
    error = type("ClientConnectorCertificateError", (ssl.SSLCertVerificationError,), {})(1, "cannot connect")
    error.__cause__ = cause

    assert "expired" in str(certificate_problem(error))


def test_files_that_cannot_be_read_are_problems() -> None:
    """Before anything is opened, and each with the keys of its option."""
    problems = tls_problems(TlsOptions(ca="/nowhere/ca.pem", key="/nowhere/key.pem"))

    assert [problem.keys for problem in problems] == [("tls", "ca"), ("tls", "key"), ("tls", "key")]
    assert "without tls.cert" in problems[2]
