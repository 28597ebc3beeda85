"""What stands under the `config:` key of a Kafka queue. No client library is imported here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

from penstock.errors import ConfigError
from penstock.options import ConnectorOptions, FromEnvironment, OptionProblem, Role, not_text
from penstock_kafka.known_keys import CODE, FRACTION, TEXT, WHOLE, WHOLE_OR_ALL
from penstock_kafka.start import read_start

BOTH_DEFAULTS: Mapping[str, Any] = {
    "client.id": "penstock",
    "socket.keepalive.enable": True,
    # A misspelt topic must be an error, not a new topic.
    "allow.auto.create.topics": False,
}

CONSUMER_DEFAULTS: Mapping[str, Any] = {
    # The client's default skips messages that were produced before the group's first start.
    "auto.offset.reset": "earliest",
    # In a rebalance only the partitions that move are stopped.
    "partition.assignment.strategy": "cooperative-sticky",
    "check.crcs": True,
    "fetch.wait.max.ms": 100,
    # Messages that are fetched ahead cost memory, and a pause discards them.
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16_384,
    # The client fetches nothing for this long after its queue was full. With the default of 1,000 ms a fast function is
    # done with 10,000 messages in a tenth of that and then idle (measured: 21,000 messages/s instead of 100,000).
    "fetch.queue.backoff.ms": 5,
}

PRODUCER_DEFAULTS: Mapping[str, Any] = {
    # All replicas confirm, and a retry neither reorders nor duplicates.
    "enable.idempotence": True,
    "linger.ms": 5,
    "compression.type": "lz4",
    "delivery.timeout.ms": 120_000,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
}

MANAGED_KEYS: Mapping[str, str] = {
    "enable.auto.commit": "the connector commits every 'commit_interval' seconds, as far as everything is settled; the "
    "client would commit messages before they are processed, and a crash would lose them",
    "auto.commit.enable": "the connector commits every 'commit_interval' seconds, as far as everything is settled",
    "enable.auto.offset.store": "the client would store offsets of messages before they are processed, and a crash "
    "would lose them",
}
"""Keys that must stay false: turned on, they lose messages."""

UNSUPPORTED_KEYS: Mapping[str, str] = {
    "stop_on_failure": "the engine's 'retry' and 'dead_letter_queue' say what happens to a message that fails",
    "batch_size": "it is a setting of the engine, and 'batch: true' beside 'config' makes the function take lists",
    "batch_time_seconds": "batches grow with the backlog and never wait; 'batch: true' beside 'config' makes the "
    "function take lists",
    "metadata.broker.list": "write 'bootstrap.servers'",
    "enable.partition.eof": "the connector needs it to know when a partition is read to its end",
    "error_cb": "the connector listens to it itself",
    "on_commit": "the connector listens to it itself",
    "on_delivery": "the connector listens to it itself",
    "delivery.report.only.error": "the connector waits for every confirmation",
    "transactional.id": "the connector has no transactions",
    "logger": "the client logs to Python's logger 'penstock_kafka.client'",
}
"""Keys of the reference or of the client that this connector does not accept, and what to do instead."""

TOOLS_GROUP = "penstock-dead-letters"
"""The group in which `penstock dead-letters` settles what it has replayed, exported or dropped."""

TOOLS_COMMIT_INTERVAL = 0.05  # seconds
TOOLS_SESSION_MS = 10_000

CALLBACKS = ("oauth_cb", "stats_cb", "throttle_cb")
"""Keys of the client whose value is a function; a configuration in Python may set them."""


def _addresses(value: Any) -> Any:
    """Addresses may be a list, or text with commas."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value


class TopicOptions(BaseModel):
    """How `penstock queue CONFIG create` makes a topic. A topic that is there stays as it is.

    Attributes:
        partitions: How many; not given: the brokers' default.
        replication: How many brokers have a copy of each; not given: the brokers' default.
        config: Settings of the topic, such as `retention.ms`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    partitions: int | None = Field(default=None, ge=1)
    replication: int | None = Field(default=None, ge=1)
    config: dict[str, str] = Field(default_factory=dict)


class ClientOptions(ConnectorOptions):
    """What all queues on Kafka's topics have. A key that is not listed here is passed to librdkafka.

    Attributes:
        bootstrap_servers: Addresses, host:port, with commas between them. From KAFKA_CONSUMER_BROKERS or
            KAFKA_PRODUCER_BROKERS, else from KAFKA_BROKERS.
        group_id: The consumer group; an input needs one. From KAFKA_CONSUMER_GROUP.
        sasl_username: From KAFKA_KEY.
        sasl_password: From KAFKA_SECRET. Both together turn on SASL_SSL with PLAIN, unless other keys say otherwise.
        connect_timeout: Seconds after which brokers that do not answer count as away.
        poll_thread_timeout: Seconds to wait for the end of the producer's polling thread.
        topic: How the topic is made by `penstock queue CONFIG create`: `partitions`, `replication`, `config`.
        consumer, producer: Keys of librdkafka for one role only, for a queue that one program reads and another writes.
    """

    model_config = ConfigDict(extra="allow")

    bootstrap_servers: Annotated[
        str | None,
        BeforeValidator(_addresses),
        FromEnvironment("KAFKA_BROKERS", input=("KAFKA_CONSUMER_BROKERS",), output=("KAFKA_PRODUCER_BROKERS",)),
    ] = Field(default=None, alias="bootstrap.servers")
    group_id: Annotated[str | None, FromEnvironment(input=("KAFKA_CONSUMER_GROUP",))] = Field(
        default=None, alias="group.id"
    )
    sasl_username: Annotated[str | None, FromEnvironment("KAFKA_KEY")] = Field(default=None, alias="sasl.username")
    sasl_password: Annotated[SecretStr | None, FromEnvironment("KAFKA_SECRET")] = Field(
        default=None, alias="sasl.password"
    )
    connect_timeout: float = Field(default=10.0, gt=0, le=300)
    poll_thread_timeout: float = Field(default=5.0, ge=0, le=60)
    topic: TopicOptions = TopicOptions()
    consumer: dict[str, Any] = Field(default_factory=dict, repr=False)
    producer: dict[str, Any] = Field(default_factory=dict, repr=False)

    def __repr_args__(self) -> Any:
        # A passed-through key may hold a password, but has no field that would mark it as a secret.
        for key, value in super().__repr_args__():
            yield key, "**********" if key and self.is_secret_key(key) and isinstance(value, str) else value

    def code(self) -> Mapping[tuple[str, ...], str]:
        """See `ConnectorOptions.code`."""
        blocks: Mapping[tuple[str, ...], Mapping[str, Any]] = {
            (): self.model_extra or {},
            ("consumer",): self.consumer,
            ("producer",): self.producer,
        }
        return {
            (*block, key): CODE[key]
            for block, keys in blocks.items()
            for key, value in keys.items()
            if key in CODE and not _is_harmless(key, value)
        }

    @property
    def brokers(self) -> str:
        """The addresses for messages, without credentials."""
        servers = (self.bootstrap_servers or "").split(",")
        return ",".join(server.strip().rpartition("@")[2] for server in servers)

    def passed_through(self, role: Role) -> dict[str, Any]:
        """The keys that are passed to librdkafka: those of both roles, overridden by those of `role` alone."""
        return {**(self.model_extra or {}), **(self.consumer if role == "input" else self.producer)}

    def written_as(self, key: str, role: Role) -> tuple[str, ...]:
        """The keys under which a passed-through key was written."""
        block, keys = ("consumer", self.consumer) if role == "input" else ("producer", self.producer)
        return (block, key) if key in keys else (key,)

    def problems(self, role: Role) -> list[str]:
        """One sentence for each problem in this role that can be found without the client."""
        found = self._missing(role)
        for key, value in self.passed_through(role).items():
            text = wrong_key(key, value, role)
            if text:
                found.append(OptionProblem(text, *self.written_as(key, role)))
        for name in ("consumer", "producer"):
            block = getattr(self, name)
            typed = {field.alias or field_name for field_name, field in type(self).model_fields.items()}
            found += [
                OptionProblem(f"{key!r} stands under {name!r}; write it beside {name!r}", name, key)
                for key in block
                if key in typed
            ]
        return found

    def client_settings(self, role: Role) -> dict[str, Any]:
        """The settings of the client, secrets included.

        Raises:
            ConfigError: with all `problems`.
        """
        if problems := self.problems(role):
            raise ConfigError(*problems)
        return self.merged_settings(role)

    def merged_settings(self, role: Role) -> dict[str, Any]:
        """See `client_settings`, for options whose `problems` are known."""
        settings = {**BOTH_DEFAULTS, **(CONSUMER_DEFAULTS if role == "input" else PRODUCER_DEFAULTS)}
        own = self.passed_through(role)
        if own.get("group.protocol") == "consumer":
            del settings["partition.assignment.strategy"]  # the broker assigns, and the client refuses the key
        settings |= self._credentials(own) | own
        settings["bootstrap.servers"] = self.bootstrap_servers
        if role == "input":
            settings |= {"group.id": self.group_id, "enable.partition.eof": True}
            settings |= {"enable.auto.commit": False, "enable.auto.offset.store": False}
        return {key: as_client_value(value) for key, value in settings.items()}

    def _missing(self, role: Role) -> list[str]:
        found: list[str] = []
        if not self.bootstrap_servers:
            variable = "KAFKA_CONSUMER_BROKERS" if role == "input" else "KAFKA_PRODUCER_BROKERS"
            found.append(
                "no brokers: write 'bootstrap.servers: host:9092' under 'config', or set the environment variable "
                f"KAFKA_BROKERS (or {variable})"
            )
        elif "@" in self.bootstrap_servers:
            text = (
                "'bootstrap.servers' has an '@', but credentials are not part of an address; write them as "
                "'sasl.username' and 'sasl.password' (KAFKA_KEY, KAFKA_SECRET)"
            )
            found.append(OptionProblem(text, "bootstrap.servers"))
        if role == "input" and not self.group_id:
            found.append(
                "no consumer group: write 'group.id' under 'config', or set the environment variable "
                "KAFKA_CONSUMER_GROUP"
            )
        if (self.sasl_username is None) != (self.sasl_password is None):
            there, missing = ("sasl.username", "'sasl.password' (KAFKA_SECRET)")
            if self.sasl_username is None:
                there, missing = ("sasl.password", "'sasl.username' (KAFKA_KEY)")
            found.append(OptionProblem(f"{there!r} is set, but {missing} is not; they go together", there))
        return found

    def _credentials(self, own: Mapping[str, Any]) -> dict[str, Any]:
        if self.sasl_username is None or self.sasl_password is None:
            return {}
        settings: dict[str, Any] = {
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "security.protocol": "SASL_SSL",
        }
        if "sasl.mechanisms" not in own:  # the client's other name of the same key
            settings["sasl.mechanism"] = "PLAIN"
        return settings


class KafkaOptions(ClientOptions):
    """Options of the connector `kafka`. A key that is not listed here is passed to librdkafka.

    Attributes:
        commit_interval: Seconds between two commits; after a crash, at most this much is processed again.
        max_uncommitted: How many offsets one unsettled message may hold back in a partition; then the partition is
            paused until that message is settled.
        revoke_timeout: Seconds to wait for settlements of a partition before another worker gets it.
        poll_interval: The longest wait for messages in seconds; None leaves it to the engine.
        start: Where a group begins that has committed nothing: `earliest`, `latest`, a time (`2026-11-27T02:00:00Z`),
            or how long ago (`90s`, `30m`, `2h`, `7d`). None leaves it to `auto.offset.reset`, which is `earliest`.
        commit: `settled`: what is settled is committed. `never`: nothing is, so that each start, and each rebalance,
            reads again from where the group stands.
    """

    commit_interval: float = Field(default=1.0, gt=0, le=60)
    max_uncommitted: int = Field(default=100_000, ge=1)
    revoke_timeout: float = Field(default=10.0, ge=0, le=300)
    poll_interval: float | None = Field(default=None, gt=0)
    start: Annotated[
        Literal["earliest", "latest"] | datetime | None,
        BeforeValidator(read_start),
        WithJsonSchema({"type": ["string", "null"]}),
    ] = None
    commit: Literal["settled", "never"] = "settled"

    def problems(self, role: Role) -> list[str]:
        """See `ClientOptions.problems`."""
        found = super().problems(role)
        if self.start is not None and "auto.offset.reset" in self.passed_through("input"):
            text = "'start' and 'auto.offset.reset' both say where a new group begins; give one of them"
            found.append(OptionProblem(text, "start"))
        return found

    def merged_settings(self, role: Role) -> dict[str, Any]:
        """See `ClientOptions.merged_settings`."""
        settings = super().merged_settings(role)
        if role == "input" and isinstance(self.start, str):
            settings["auto.offset.reset"] = self.start
        return settings

    def for_tools(self) -> Self:
        """See `ConnectorOptions.for_tools`; after a crash they repeat what they had settled since the last commit."""
        consumer = dict(self.consumer)
        if self.passed_through("input").get("group.protocol") != "consumer":
            # As long as a group waits for a tool that was killed.
            consumer.setdefault("session.timeout.ms", TOOLS_SESSION_MS)
        own = {"group_id": TOOLS_GROUP, "commit_interval": TOOLS_COMMIT_INTERVAL, "commit": "settled", "start": None}
        return self.model_copy(update={**own, "consumer": consumer})

    def cooperative(self) -> bool:
        """Whether a rebalance revokes only the partitions that move."""
        keys = {**CONSUMER_DEFAULTS, **self.passed_through("input")}
        return keys.get("group.protocol") == "consumer" or "cooperative" in str(keys["partition.assignment.strategy"])

    def revoke_wait(self) -> float:
        """`revoke_timeout`, shortened so that the group does not count this member as dead."""
        interval = float(self.passed_through("input").get("max.poll.interval.ms", 300_000)) / 1000
        return min(self.revoke_timeout, interval / 2)


def _is_harmless(key: str, value: Any) -> bool:
    # The client puts these values into a shell command, where a plain name is harmless.
    part = CODE[key] == "becomes a part of a shell command"
    return (
        part
        and isinstance(value, str)
        and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./@-]*|/[A-Za-z0-9_./-]+", value) is not None
    )


def as_client_value(value: Any) -> Any:
    """A value as librdkafka reads it: text, or a function."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if callable(value) else str(value)


def wrong_key(key: str, value: Any, role: Role) -> str | None:
    """The problem of a passed-through key, if it can be found without the client."""
    if role == "input" and key in MANAGED_KEYS:
        is_off = str(value).lower() in ("false", "0", "f")
        return None if is_off else f"{key!r} cannot be turned on: {MANAGED_KEYS[key]}"
    if key in UNSUPPORTED_KEYS:
        return f"{key!r} is not an option here: {UNSUPPORTED_KEYS[key]}; remove it"
    if value is None:
        return f"{key!r} has no value; give it one, or remove it"
    if callable(value) or key in CALLBACKS:
        if key not in CALLBACKS:
            return f"{key!r} cannot be a function"
        return None if callable(value) else f"{key!r} must be a function, which only a configuration in Python can give"
    if key in TEXT and (problem := not_text(key, value)):
        return problem
    if not isinstance(value, str | int | float | bool | SecretStr):
        return f"{key!r} must be a text, a number, true or false, not a {type(value).__name__}"
    return _wrong_number(key, value)


def _wrong_number(key: str, value: Any) -> str | None:
    form = next((form for keys, form in _NUMBERS.items() if key in keys), None)
    text = as_client_value(value).strip()
    # The client itself refuses what does not begin with a number; it cuts off what follows one.
    if form is None or form.fullmatch(text) or not (isinstance(value, bool) or re.match(r"[+-]?[0-9]", text)):
        return None
    kind = "a number" if key in FRACTION else "a whole number"
    other = " or 'all'" if key in WHOLE_OR_ALL else ""
    unit = next((f" of {name}" for end, name in _UNITS.items() if key.endswith(end)), "")
    return f"{key!r} must be {kind}{unit}{other}; write the number alone, without a unit"


_NUMBERS = {
    WHOLE: re.compile(r"[+-]?[0-9]+"),
    WHOLE_OR_ALL: re.compile(r"[+-]?[0-9]+|all"),
    FRACTION: re.compile(r"[0-9]+(\.[0-9]+)?"),
}
_UNITS = {".ms": "milliseconds", ".kbytes": "kilobytes", ".bytes": "bytes", ".seconds": "seconds"}
"""What a number counts, by the end of its key."""


def topics(name: str, role: Role) -> list[str]:
    """The topics in a queue's `value`: names with commas between them; `^` begins a regular expression.

    Raises:
        ConfigError: a name is empty, or an output has more than one.
    """
    found = [part.strip() for part in name.split(",")]
    if not all(found):
        raise ConfigError(f"'value' is {name!r}, which has an empty topic name; write 'topic' or 'topic, topic'")
    if role == "output" and (len(found) > 1 or found[0].startswith("^")):
        raise ConfigError(f"'value' is {name!r}, but an output goes to one topic; make one queue for each topic")
    return found
