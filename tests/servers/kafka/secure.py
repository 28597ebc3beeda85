"""A Kafka broker with TLS: listeners whose certificates are good, expired, or of another name; PLAIN and SCRAM."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from penstock_kit import free_port
from tests.servers.kafka.broker import Broker, More
from tests.servers.kafka.server import PASSWORD, USER

KINDS = ("GOOD", "EXPIRED", "OTHER")
MODULES = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Certificates:
    """Files of two authorities; the brokers' certificates are of the first."""

    trusted: Path
    stranger: Path


class SecureBroker(Broker):
    """A broker of its own.

    Attributes:
        addresses: By what its certificate is: "GOOD", "EXPIRED", "OTHER" (of another host's name).
        certificates: For clients.
    """

    addresses: dict[str, str]
    certificates: Certificates

    def _more(self) -> More:
        authority, stranger = trustme.CA(), trustme.CA()
        self.certificates = Certificates(self._directory / "ca.pem", self._directory / "stranger.pem")
        authority.cert_pem.write_to_path(str(self.certificates.trusted))
        stranger.cert_pem.write_to_path(str(self.certificates.stranger))
        yesterday = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(days=1)
        issued: dict[str, Any] = {
            "GOOD": authority.issue_cert("127.0.0.1"),
            "EXPIRED": authority.issue_cert("127.0.0.1", not_after=yesterday),
            "OTHER": authority.issue_cert("elsewhere.test"),
        }
        ports = {kind: free_port() for kind in KINDS}
        self.addresses = {kind: f"127.0.0.1:{port}" for kind, port in ports.items()}
        lines: list[str] = []
        for kind in KINDS:
            store = self._directory / f"{kind}.pem"
            store.write_bytes(_pem(issued[kind]))
            name = f"listener.name.{kind.lower()}"
            lines += [
                f"{name}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
                f"{name}.ssl.keystore.type=PEM",
                f"{name}.ssl.keystore.location={store}",
                f'{name}.plain.sasl.jaas.config={MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
                f"{name}.scram-sha-256.sasl.jaas.config={MODULES}.scram.ScramLoginModule required;",
            ]
        return More(
            "".join(f",{kind}://{address}" for kind, address in self.addresses.items()),
            "".join(f",{kind}:SASL_SSL" for kind in KINDS),
            "\n".join(lines),
            ("--add-scram", f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]"),
        )


def _pem(certificate: Any) -> bytes:
    """Key and chain in one file, the key as Java reads it."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text + b"".join(each.bytes() for each in certificate.cert_chain_pems)
