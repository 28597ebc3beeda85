"""What stands under a queue's `config:` key. No client library is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from penstock.options import ConnectorOptions, FromEnvironment
from penstock.tls import TlsOptions

PORTS = {"amqp": 5672, "amqps": 5671}


class RabbitmqOptions(ConnectorOptions):
    """Options of the connector `rabbitmq`.

    Attributes:
        host: The RabbitMQ server. From RABBITMQ_HOST.
        port: None: 5672, or 5671 with TLS. From RABBITMQ_PORT.
        username: From RABBITMQ_USERNAME.
        password: From RABBITMQ_PASSWORD.
        virtual_host: From RABBITMQ_VIRTUAL_HOST.
        url: All of these in one: `amqp://user:password@host:5672/virtual_host`, `amqps://…` for TLS. From
            RABBITMQ_URL. It wins over the single keys.
        tls: True, or how to verify. An `amqps://` URL implies it.
        mechanism: plain: username and password. external: the certificate in `tls.cert` says who we are.
        exchange: Records go to this exchange, and the queue of an input is bound to it; "" is the default exchange,
            which knows each queue by its name.
        exchange_type: For an exchange that is created.
        routing_key: Of the records of an output that have none of their own, and of the binding of an input; None: the
            queue's `value`.
        bindings: An input: the routing keys or patterns with which its queue is bound; None: the `routing_key` alone.
        binding_arguments: For the binding to a headers exchange: `{x-match: any, region: eu}`.
        arguments: Of a queue that is created: `x-dead-letter-exchange`, `x-single-active-consumer`, `x-max-length`, ….
        create: Create the exchange and the queue if they do not exist.
        durable: Exchange and queue, if they are created, survive a restart of the server. A quorum queue always does.
        prefetch: Messages that the server gives this worker before it settles some; fewer where the engine asks for
            fewer.
        mandatory: A record for which the exchange finds no queue waits until there is one. False: it is dropped.
        max_message_size: Bytes of the largest body that the server takes (its `max_message_size`).
        heartbeat: Seconds; after twice as long without a sign of life the other side counts as gone. 0: never.
        timeout: Seconds after which a server that does not answer counts as away.
    """

    queue_type: ClassVar[str] = "quorum"

    host: Annotated[str, FromEnvironment("RABBITMQ_HOST")] = Field(default="localhost", pattern=r"^[^\s/@]+$")
    port: Annotated[int | None, FromEnvironment("RABBITMQ_PORT")] = Field(default=None, ge=1, le=65535)
    username: Annotated[str, FromEnvironment("RABBITMQ_USERNAME")] = "guest"
    password: Annotated[SecretStr, FromEnvironment("RABBITMQ_PASSWORD")] = SecretStr("guest")
    virtual_host: Annotated[str, FromEnvironment("RABBITMQ_VIRTUAL_HOST")] = "/"
    url: Annotated[SecretStr | None, FromEnvironment("RABBITMQ_URL")] = None
    tls: bool | TlsOptions = False
    mechanism: Literal["plain", "external"] = "plain"
    exchange: str = Field(default="", max_length=100)
    exchange_type: Literal["direct", "topic", "fanout", "headers"] = "direct"
    routing_key: str | None = Field(default=None, max_length=255)
    bindings: Sequence[str] | None = None
    binding_arguments: Mapping[str, Any] = Field(default_factory=dict)
    arguments: Mapping[str, Any] = Field(default_factory=dict)
    create: bool = True
    durable: bool = True
    prefetch: int = Field(default=10_000, ge=1, le=65535)
    mandatory: bool = True
    max_message_size: int = Field(default=16 * 2**20, ge=1, le=512 * 2**20)
    heartbeat: int = Field(default=60, ge=0, le=3600)
    timeout: float = Field(default=10.0, gt=0, le=60)

    @field_validator("url")
    @classmethod
    def _url_names_a_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                parts = urlsplit(url.get_secret_value())
                valid = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0 and not parts.query
            except ValueError:
                valid = False  # the parser's own text quotes the URL
            if not valid:
                raise ValueError(
                    "write amqp://host:5672/virtual_host or amqps://…, with user:password@ before it, percent-encoded"
                )
        return url

    def server(self) -> dict[str, Any]:
        """Where the server is and who we are, as keywords of the client; with the password."""
        parts = urlsplit(self.url.get_secret_value() if self.url else "")
        ssl = bool(self.tls) or parts.scheme == "amqps"
        return {
            "host": parts.hostname or self.host,
            "port": (parts.port if self.url else self.port) or PORTS["amqps" if ssl else "amqp"],
            "login": unquote(parts.username or "") or self.username,
            "password": unquote(parts.password or "") or self.password.get_secret_value(),
            "virtualhost": unquote(parts.path[1:]) or self.virtual_host,
            "ssl": ssl,
        }

    @property
    def address(self) -> str:
        """The server's host and port, for messages."""
        return "{host}:{port}".format(**self.server())


class ClassicOptions(RabbitmqOptions):
    """Options of the connector `rabbitmq.classic`, the same ones."""

    queue_type: ClassVar[str] = "classic"
