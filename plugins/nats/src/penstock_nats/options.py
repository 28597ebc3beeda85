"""What stands under a queue's `config:` key. No client library is imported here."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from penstock.options import ConnectorOptions, FromEnvironment
from penstock.tls import TlsOptions, tls_context

_SCHEMES = ("nats", "tls", "ws", "wss")


class NatsOptions(ConnectorOptions):
    """Options of the connector `nats`.

    Attributes:
        servers: One URL or several of one cluster, separated by commas: `nats://host:4222`, `tls://host:4222`. From
            NATS_URL.
        user: From NATS_USER.
        password: From NATS_PASSWORD.
        token: Instead of user and password. From NATS_TOKEN.
        creds_file: The file with a user's JWT and seed (`.creds`). From NATS_CREDS.
        tls: True, or how to verify. A `tls://` URL implies it.
        stream: The stream that holds the queue's subject. None: the one that has the subject, or a new one that is
            called like it, with '-' for each '.'.
        group: The durable consumer that the workers share; another group gets every message for itself.
        ack_wait: Seconds for which a delivery is hidden from others, for a group that is created; an existing one
            keeps its own. The engine extends it while the message is in work.
        create: Create stream and group if they do not exist.
        max_age: Seconds after which a message is dropped, settled or not, for a stream that is created; 0 is never.
        replicas: How many servers keep each message, for a stream that is created.
        timeout: Seconds after which a server that does not answer counts as away.
    """

    servers: Annotated[str, FromEnvironment("NATS_URL")] = "nats://127.0.0.1:4222"
    user: Annotated[str | None, FromEnvironment("NATS_USER")] = None
    password: Annotated[SecretStr | None, FromEnvironment("NATS_PASSWORD")] = None
    token: Annotated[SecretStr | None, FromEnvironment("NATS_TOKEN")] = None
    creds_file: Annotated[str | None, FromEnvironment("NATS_CREDS")] = None
    tls: bool | TlsOptions = False
    stream: str | None = Field(default=None, pattern=r"^[^\s.*>/\\]+$")
    group: str = Field(default="penstock", pattern=r"^[^\s.*>/\\]+$")
    ack_wait: float = Field(default=60.0, ge=0.1)
    create: bool = True
    max_age: float = Field(default=0.0, ge=0)
    replicas: int = Field(default=1, ge=1, le=5)
    timeout: float = Field(default=5.0, gt=0, le=60)

    @field_validator("servers")
    @classmethod
    def _urls_name_servers(cls, servers: str) -> str:
        for url in servers.split(","):
            parts = urlsplit(url.strip())
            if parts.scheme not in _SCHEMES or not parts.hostname:
                raise ValueError("each server is a URL such as nats://host:4222; separate several by commas")
            if parts.username is not None:
                # A URL is printed in errors and logs; a secret is not.
                raise ValueError("no user or password in a URL; write them as 'user' and 'password'")
        return servers

    def credentials(self) -> dict[str, Any]:
        """Keywords for the client, with the secrets.

        Raises:
            OSError: a file of `tls` cannot be read.
        """
        return {
            "user": self.user,
            "password": self.password and self.password.get_secret_value(),
            "token": self.token and self.token.get_secret_value(),
            "user_credentials": self.creds_file,
            "tls": tls_context(self.tls),
        }

    @property
    def urls(self) -> list[str]:
        """The servers, one by one."""
        return [url.strip() for url in self.servers.split(",")]
