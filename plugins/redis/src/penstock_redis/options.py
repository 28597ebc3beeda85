"""What stands under the `config:` key of a queue in Redis. No client library is imported here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from penstock.options import ConnectorOptions, FromEnvironment, OptionProblem, Role
from penstock.tls import TlsOptions, tls_problems

_SCHEMES = ("redis", "rediss", "unix")
LARGEST = 512 * 2**20  # bytes of one value; Redis closes the connection at a larger one (proto-max-bulk-len)
TOOLS_GROUP = "penstock-tools"


class RedisOptions(ConnectorOptions):
    """Where the server is. All connectors of this plugin have these.

    Attributes:
        host: The Redis server. From REDIS_HOST.
        port: From REDIS_PORT.
        db: The database's number.
        username: The ACL user; None: the default user.
        password: From REDIS_PASSWORD.
        url: All of these in one: `redis://user:password@host:6379/0`, `rediss://…` for TLS, `unix:///path`.
            From REDIS_URL. It wins over the single keys.
        tls: True, or how to verify. A `rediss://` URL implies it.
        timeout: Seconds after which a server that does not answer counts as away, also while connecting.
    """

    host: Annotated[str | None, FromEnvironment("REDIS_HOST")] = None
    port: Annotated[int, FromEnvironment("REDIS_PORT")] = Field(default=6379, ge=1, le=65535)
    db: int = Field(default=0, ge=0)
    username: str | None = None
    password: Annotated[SecretStr | None, FromEnvironment("REDIS_PASSWORD")] = None
    url: Annotated[SecretStr | None, FromEnvironment("REDIS_URL")] = None
    tls: bool | TlsOptions = False
    timeout: float = Field(default=5.0, ge=0.1, le=60)

    @model_validator(mode="before")
    @classmethod
    def _config_beats_environment(cls, values: Any) -> Any:
        """Where the environment adds a second way to name the server, the way of the config wins."""
        if isinstance(values, Mapping) and values.get("host") is not None and values.get("url") is not None:
            if values["host"] == os.environ.get("REDIS_HOST"):
                return {key: value for key, value in values.items() if key != "host"}
            if _revealed(values["url"]) != os.environ.get("REDIS_URL"):
                raise ValueError("both host and url are set; each names the server, keep one")
            return {key: value for key, value in values.items() if key != "url"}
        return values

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
        if url is not None:
            try:
                parts = urlsplit(url.get_secret_value())
                _ = parts.port
            except ValueError:
                # The parser's own text quotes the URL.
                text = "the URL does not parse; special characters of a password must be percent-encoded"
                raise ValueError(text) from None
            if parts.scheme not in _SCHEMES or (parts.scheme != "unix" and not parts.hostname):
                raise ValueError("the URL must begin with redis://HOST, rediss://HOST or unix:///PATH")
        return url

    @model_validator(mode="after")
    def _server_is_named(self) -> Self:
        if not self.host and self.url is None:
            raise ValueError(
                "no Redis server is named: set the environment variable REDIS_HOST (or REDIS_URL), "
                "or write `config: {host: …}`"
            )
        return self

    @property
    def address(self) -> str:
        """The server as messages name it: host and port or the socket's path, never a password."""
        if self.url is None:
            return f"{self.host}:{self.port}"
        parts = urlsplit(self.url.get_secret_value())
        return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"

    def client_arguments(self) -> dict[str, Any]:
        """Keywords for redis-py's client, beside the URL if there is one; with the secrets."""
        where = {"host": self.host, "port": self.port} if self.url is None else {}
        who = {"db": self.db, "username": self.username, "password": _revealed(self.password)}
        return {**where, **who, **self._tls_arguments()}

    def _tls_arguments(self) -> dict[str, Any]:
        by_url = self.url is not None and urlsplit(self.url.get_secret_value()).scheme == "rediss"
        if not self.tls and not by_url:
            return {}
        tls = self.tls if isinstance(self.tls, TlsOptions) else TlsOptions()
        files = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
        verify = {"ssl_cert_reqs": "none" if tls.insecure_skip_verify else "required"}
        # redis-py rejects the flag beside a URL, whose scheme says it.
        return {
            **files,
            **verify,
            "ssl_check_hostname": not tls.insecure_skip_verify,
            **({} if by_url else {"ssl": True}),
        }


class StreamOptions(RedisOptions):
    """Options of the connector `redis.streams`.

    Attributes:
        group: The consumer group. Workers of one group share the messages; each group gets all of them.
        consumer: This worker's name in the group; None: a name of its own for each run.
        start: Where a group begins that does not exist yet: `0` (the oldest entry), `$` (only what comes later), or an
            entry's id.
        lease: Seconds for which a delivery is hidden from others; extended while it is worked on.
        create: Create the stream if it does not exist; false waits until it does. The group is created in either case.
        max_length: Trim the stream to this many entries. Only entries that every group has acknowledged are removed, so
            it may be longer. None: nothing is removed.
        max_bytes: The largest record with key and headers.
    """

    group: str = Field(default="penstock", min_length=1, max_length=200)
    consumer: str | None = Field(default=None, min_length=1, max_length=200)
    start: str = Field(default="0", pattern=r"^(\$|\d+(-\d+)?)$")
    lease: float = Field(default=60.0, ge=0.1, le=86_400)
    create: bool = True
    max_length: int | None = Field(default=None, ge=0)
    max_bytes: int = Field(default=LARGEST, ge=1, le=LARGEST)

    def for_tools(self) -> Self:
        """See `ConnectorOptions.for_tools`."""
        return self.model_copy(update={"group": TOOLS_GROUP, "consumer": None, "start": "0"})


class ListOptions(RedisOptions):
    """Options of the connector `redis.lists`.

    Attributes:
        take_from: The end from which messages are taken, `left` or `right`; they are pushed to the other one. Programs
            that use LPUSH and BRPOP take from the right.
        lease: Seconds for which a delivery is hidden from others; extended while it is worked on.
        poll_interval: Longest pause, in seconds, between two looks at an empty list.
        raw: Take messages as LPOP and RPOP do, and keep nothing in Redis: a worker that is killed loses what it has.
    """

    take_from: Literal["left", "right"] = "left"
    lease: float = Field(default=60.0, ge=0.1, le=86_400)
    poll_interval: float = Field(default=0.1, ge=0.005, le=60)
    raw: bool = False


class PubSubOptions(RedisOptions):
    """Options of the connector `redis.pubsub`.

    Attributes:
        patterns: The names of `value` are patterns, `user.*`; an input only.
        buffer: How many messages may wait in the worker's memory; those that come when it is full are dropped and
            counted.
        buffer_bytes: The same in bytes of bodies.
        require_subscriber: A message that no subscriber received is refused for now, and sent again; an output only.
    """

    patterns: bool = False
    buffer: int = Field(default=10_000, ge=1, le=10_000_000)
    buffer_bytes: int = Field(default=64 * 2**20, ge=1)
    require_subscriber: bool = False


def channels(name: str) -> list[str]:
    """The channels or patterns of a queue's `value`, which has commas between them."""
    return [each.strip() for each in name.split(",") if each.strip()]


def check_channels(name: str, options: PubSubOptions, role: Role) -> Sequence[str]:
    """See `check`."""
    problems = list(check(name, options, role))
    if not channels(name):
        problems.append("`value` names no channel")
    if role == "output" and options.patterns:
        problems.append(OptionProblem("patterns: a message is published to a channel, not to a pattern", "patterns"))
    if role == "output" and len(channels(name)) > 1:
        problems.append(f"`value` has several channels, {name!r}; a message is published to one")
    return problems


def check(name: str, options: RedisOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (both have the same rules)
    """What is wrong with these options, one sentence a problem; no server is asked."""
    problems: list[str] = list(tls_problems(options.tls))
    if options.url is not None and options.tls and not options.url.get_secret_value().startswith("rediss:"):
        problems.append(
            OptionProblem("tls is set, and the URL does not begin with rediss://, which turns it on", "tls")
        )
    return problems


def _revealed(secret: Any) -> Any:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret
