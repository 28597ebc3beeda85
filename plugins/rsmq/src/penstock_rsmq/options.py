"""What stands under the `config:` key of an RSMQ queue. No client library is imported here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from penstock.options import ConnectorOptions, FromEnvironment
from penstock.tls import TlsOptions

_SCHEMES = ("redis", "rediss", "unix")
_LONGEST = 9_999_999  # seconds; RSMQ's limit for vt and delay


class RsmqOptions(ConnectorOptions):
    """Options of the connector `rsmq`.

    Attributes:
        host: The Redis server. From REDIS_HOST.
        port: From REDIS_PORT.
        db: The database's number.
        username: The ACL user; None: the default user.
        password: From REDIS_PASSWORD.
        url: All of these in one: `redis://user:password@host:6379/0`, `rediss://…` for TLS, `unix:///path`.
            From REDIS_URL. It wins over the single keys.
        tls: True, or how to verify. A `rediss://` URL implies it.
        ns: RSMQ's namespace, the prefix of all its keys. On a Redis Cluster a hash tag: `"{rsmq}"`.
        vt: Seconds for which a received message is hidden from others; kept alive while it is worked on. null: the
            queue's own attribute.
        delay: Seconds before a sent message is visible, unless the record has a delay; null: the queue's own attribute.
        maxsize: Largest body in bytes, -1 for no limit, for a queue that is created; an existing one keeps its own.
        create: Create the queue if it does not exist.
        poll_interval: Longest pause, in seconds, between two looks at an empty queue; RSMQ cannot wait on the server.
        timeout: Seconds after which a server that does not answer counts as away.
        options: Of py-volley: options of the Redis client; only `decode_responses: false` is taken, which is so anyway.
        exceptions, quiet, encode: Of PyRSMQ; accepted where they change nothing.
    """

    host: Annotated[str | None, FromEnvironment("REDIS_HOST")] = None
    port: Annotated[int, FromEnvironment("REDIS_PORT")] = Field(default=6379, ge=1, le=65535)
    db: int = Field(default=0, ge=0)
    username: str | None = None
    password: Annotated[SecretStr | None, FromEnvironment("REDIS_PASSWORD")] = None
    url: Annotated[SecretStr | None, FromEnvironment("REDIS_URL")] = None
    tls: bool | TlsOptions = False
    ns: str = "rsmq"
    vt: float | None = Field(default=60.0, gt=0, le=_LONGEST)
    delay: float | None = Field(default=None, ge=0, le=_LONGEST)
    maxsize: int = -1
    create: bool = True
    poll_interval: float = Field(default=0.1, ge=0.005, le=60)
    timeout: float = Field(default=5.0, gt=0, le=60)
    options: Mapping[str, Any] = Field(default_factory=dict)
    exceptions: bool = True
    quiet: bool = False
    encode: bool = False

    @model_validator(mode="before")
    @classmethod
    def _config_beats_environment(cls, values: Any) -> Any:
        """Let the way the config names the server win, where the environment has added the other way."""
        if not isinstance(values, Mapping) or values.get("host") is None or values.get("url") is None:
            return values
        host_is_ambient = values["host"] == os.environ.get("REDIS_HOST")
        url_is_ambient = _revealed(values["url"]) == os.environ.get("REDIS_URL")
        if not host_is_ambient and not url_is_ambient:
            raise ValueError("both host and url are set; each names the server, keep one")
        # Both from the environment: the URL holds more.
        dropped = "host" if host_is_ambient else "url"
        return {key: value for key, value in values.items() if key != dropped}

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, host: str | None) -> str | None:
        if host is not None and ("@" in host or "/" in host):
            # Not shown: a URL may hold a password.
            raise ValueError("this is not the name of a host; write a URL under 'url' (REDIS_URL)")
        return host

    @field_validator("url")
    @classmethod
    def _url_names_a_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url.get_secret_value())
            _ = parts.port
        except ValueError:
            # The parser's own text quotes the URL.
            raise ValueError(
                "the URL does not parse; special characters of a password must be percent-encoded"
            ) from None
        if parts.scheme not in _SCHEMES:
            raise ValueError("the URL must begin with redis://, rediss:// or unix://")
        if parts.scheme != "unix" and not parts.hostname:
            raise ValueError("the URL names no host")
        return url

    @field_validator("ns")
    @classmethod
    def _namespace_is_a_prefix(cls, ns: str) -> str:
        if ns.endswith(":"):
            raise ValueError(f"the colon after the namespace is added; write {ns.rstrip(':')!r}")
        return ns

    @field_validator("maxsize")
    @classmethod
    def _maxsize_is_one_of_rsmq(cls, maxsize: int) -> int:
        if maxsize != -1 and not 1024 <= maxsize <= 65565:
            raise ValueError("RSMQ allows a maxsize of 1024 to 65565 bytes, or -1 for no limit")
        return maxsize

    @field_validator("options")
    @classmethod
    def _client_options_are_understood(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        if options.get("decode_responses"):
            raise ValueError("decode_responses must stay false: a body is bytes, the serializer decodes it")
        for key in sorted(options.keys() - {"decode_responses"}):
            raise ValueError(
                f"{key!r} cannot be passed to the Redis client; the connection has options of its own "
                "(host, port, db, username, password, url, tls, timeout)"
            )
        return options

    @model_validator(mode="after")
    def _server_is_named(self) -> RsmqOptions:
        if not self.host and self.url is None:
            raise ValueError(
                "no Redis server is named: set the environment variable REDIS_HOST (or REDIS_URL), "
                "or write `config: {host: …}`"
            )
        if not self.exceptions:
            raise ValueError("exceptions: errors are never turned into False here; drop the key")
        if self.encode:
            raise ValueError("encode: the queue's serializer encodes; drop the key")
        return self

    @property
    def address(self) -> str:
        """The server as messages name it: host and port or the socket's path, never a password."""
        if self.url is None:
            return f"{self.host}:{self.port}"
        parts = urlsplit(self.url.get_secret_value())
        return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"

    def client_arguments(self) -> dict[str, Any]:
        """Keywords for redis-py's client, for the one that blocks as for the asynchronous one; with the secrets."""
        arguments: dict[str, Any] = {
            "db": self.db,
            "username": self.username,
            "password": _revealed(self.password),
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "socket_keepalive": True,
            # Answers of scripts are the same in both; this one needs no handshake.
            "protocol": 2,
        }
        if self.url is None:
            arguments |= {"host": self.host, "port": self.port}
        return arguments | self._tls_arguments()

    def _tls_arguments(self) -> dict[str, Any]:
        implied = self.url is not None and urlsplit(self.url.get_secret_value()).scheme == "rediss"
        if not self.tls and not implied:
            return {}
        tls = self.tls if isinstance(self.tls, TlsOptions) else TlsOptions()
        arguments: dict[str, Any] = {
            "ssl_ca_certs": tls.ca,
            "ssl_certfile": tls.cert,
            "ssl_keyfile": tls.key,
            "ssl_cert_reqs": "none" if tls.insecure_skip_verify else "required",
            "ssl_check_hostname": not tls.insecure_skip_verify,
        }
        # A URL chooses by its scheme, and redis-py rejects the flag beside it.
        return arguments if self.url is not None else arguments | {"ssl": True}


def _revealed(secret: Any) -> Any:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret
