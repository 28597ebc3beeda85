"""The models of a configuration: queues, and the settings of engines, workers and plugins.

Every key is typed. An unknown key is rejected with the nearest known one, and None differs from "not given".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from penstock.config.locations import Locations, Path
from penstock.errors import ConfigError
from penstock.retry import QueueRetry, RetryPolicy
from penstock.specs import ConnectorSpec
from penstock.strict_model import StrictModel

if TYPE_CHECKING:
    from penstock.config.problems import Problem

OFF = ("none", "disabled", "off")
"""Words, in any case, that turn off a stage, like a plain None (null in YAML) and `off`, which YAML reads as false."""


class Settings(StrictModel):
    """The base of all sections: frozen, strict about keys; its errors never show a value.

    Raises:
        ConfigError: by its constructor, with one sentence for each thing that is wrong.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True, defer_build=True
    )

    owner: ClassVar[str] = "these settings"
    """Whose keys these are; completes "… is not a key of"."""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            from penstock.config.validation import explain

            name = values.get("name")
            subject = f"queue {name!r}" if isinstance(name, str) else type(self).owner
            problems = explain(error, type(self), values, type(self).owner)
            raise ConfigError(*(replace(problem, subject=subject) for problem in problems)) from None


def _nothing(value: Any) -> Any:
    # In YAML, `config:` is null when every line below it is commented out.
    return {} if value is None else value


def _off(value: Any) -> Any:
    return None if value is False or (isinstance(value, str) and value.strip().lower() in OFF) else value


def _size(value: Any) -> Any:
    # pydantic reads "64,000" as 64, and "64MiB/s" as 64 MiB: it cuts off what it does not understand.
    if isinstance(value, str) and not _SIZE.fullmatch(value.strip()):
        raise PydanticCustomError("byte_size", "not a size")
    return value


def per_second(rate: Any) -> Any:
    """How many a second "10/s", "600/m" or "1000/h" is; what is not text stays as it is."""
    if not isinstance(rate, str):
        return rate
    if (found := _RATE.fullmatch(rate.strip())) is None:
        raise PydanticCustomError("rate", "not a rate")
    return float(found[1]) / {"s": 1, "m": 60, "h": 3600}[found[2]]


def _one_name(name: str) -> str:
    if "," in name:
        raise ValueError("a name in a list has no comma; write each name as an item of its own")
    return name


_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*([smh])")


_SIZE = re.compile(r"[0-9][0-9_]*|[0-9]+(\.[0-9]+)?\s*[A-Za-z]+")
_TEXT = WithJsonSchema({"type": "string", "minLength": 1})
_TEXT_OR_NULL = WithJsonSchema({"type": ["string", "null"]})

Name = Annotated[str, Field(min_length=1)]
ConnectorName = Annotated[Name | InstanceOf[ConnectorSpec], _TEXT]
ClassPath = Annotated[Name | type[Any], _TEXT]
Stage = Annotated[str | type[Any] | None, BeforeValidator(_off), _TEXT_OR_NULL]
DataModel = Annotated[Any, BeforeValidator(_off), _TEXT_OR_NULL]
Bytes = Annotated[ByteSize, BeforeValidator(_size), WithJsonSchema({"type": ["integer", "string"], "minimum": 1})]

Rate = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)],
    BeforeValidator(per_second),
    WithJsonSchema({"type": ["number", "string"], "exclusiveMinimum": 0}),
]
Processes = Annotated[int, Field(ge=1, le=1_000)] | Literal["auto"]
KeyField = Annotated[Name | Callable[[Any], Any] | None, _TEXT_OR_NULL]
Names = Annotated[tuple[Annotated[Name, AfterValidator(_one_name)], ...], Field(min_length=1)]
# By its kind: a number would else be told that it could be a list.
Value = Annotated[
    Annotated[Name | None, Tag("text")] | Annotated[Names, Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "text"),
]
Port = Annotated[Annotated[int, Field(ge=0, le=65535)] | None, BeforeValidator(_off)]


class QueueConfig(Settings):
    """One queue: where messages come from or go to, and how they are read and written.

    Every key but `name` may be left out. A key that is given, even as None, wins over the profile; see `given`.

    Attributes:
        name: What engines and functions call it.
        value: The backend's own name (topic, stream, table); the same as `name` if not given. An input of some
            connectors takes several, as a list or with commas between them.
        profile: A preset for all that follows, offered by a plugin.
        connector: The backend, by the name that a plugin offers (or a `ConnectorSpec`).
        consumer, producer: A class, or the dotted path of one, instead of the connector's own.
        serializer: A name, a class or a dotted path; None, "none" or "off" hands bytes to the model handler.
        model_handler: The same; turned off, the function gets what the serializer made.
        data_model: What the model handler builds: a class, any type that it understands, or a dotted path.
        config: The connector's options.
        key: Of an output: the field of each object that is its message's key ("user_id", "customer.id"), or in Python a
            function of the object. An output's own key wins.
        envelope: Whether key and headers that the backend cannot carry travel inside the body. Off: bodies are written
            and read as they are, and a dead letter does not say why it is one.
        retry: How long it tries to connect and to send while its backend is away. None, and it does for ever.
        batch: The function gets a list of messages instead of one; None leaves it to the profile.
    """

    owner: ClassVar[str] = "a queue"

    name: Name
    value: Value = None
    profile: Name | None = None
    connector: ConnectorName | None = None
    consumer: ClassPath | None = None
    producer: ClassPath | None = None
    serializer: Stage = None
    model_handler: Stage = None
    data_model: DataModel = None
    # Not in the repr: it may hold passwords that no options model has marked yet.
    config: Annotated[dict[str, Any], BeforeValidator(_nothing)] = Field(default_factory=dict, repr=False)
    key: KeyField = None
    envelope: bool = True
    retry: QueueRetry | None = None
    batch: bool | None = None

    @property
    def backend_name(self) -> str:
        """The backend's own name; several with commas between them."""
        return self.value if isinstance(self.value, str) else ",".join(self.value or (self.name,))

    def given(self, key: str) -> bool:
        """Whether the configuration gives `key`, also if it turns it off."""
        return key in self.model_fields_set


class EngineSettings(Settings):
    """How engines treat messages.

    Attributes:
        max_in_flight: The most messages that are consumed and not yet settled; at the limit no more are fetched.
        max_in_flight_bytes: The same in bytes of bodies; a number, or text like "64MiB".
        batch_size: The most messages that travel together.
        batch: "latest": of the messages that wait for the function together, it gets the newest of each key; the older
            ones are settled with it, and counted as superseded. A message without a key is always given.
        batch_wait: Seconds that a list of messages may wait to be full, from its first message on; for functions that
            take lists.
        rate: The most messages a second that are fetched: a number, or text like "10/s", "600/m", "1000/h".
        frequency: Seconds between two fetches, each of `batch_size` messages at most; None fetches all the time.
        concurrency: How many calls of the function may run at the same time.
        retry: What happens when the function raises.
        on_invalid: What happens to a message that does not parse or validate when there is no dead-letter queue: stop
            the engine, or settle the message and count it.
        on_failed: What happens, without a dead-letter queue, to a message whose attempts are used up: requeue it, to
            come again after the longest wait; stop the engine and leave it; or settle the message and count it.
        delivery: "exactly_once" needs input and outputs on one backend with transactions.
        propagate: Names of headers that go from an input to its outputs, beside `traceparent`, `tracestate`, `baggage`
            and `penstock-id`, which always do. In any case; an output's own header of a name wins.
        lineage: How many hops the header `penstock-lineage` of each output keeps: the engines that had it, with queue,
            position and time; 0 writes none.
        middleware: What stands around each call of the function, the first outermost: names of installed middleware, or
            mappings with a `name` and its options.
    """

    owner: ClassVar[str] = "the engine"

    max_in_flight: int = Field(default=10_000, ge=1)
    max_in_flight_bytes: Bytes = Field(default=ByteSize(64 * 1024 * 1024), ge=1)
    batch_size: int = Field(default=1_000, ge=1)
    batch: Literal["latest"] | None = None
    batch_wait: float = Field(default=0.0, ge=0, le=3600)
    rate: Rate | None = None
    frequency: float | None = Field(default=None, gt=0)
    concurrency: int = Field(default=1, ge=1)
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    on_invalid: Literal["stop", "skip"] = "stop"
    on_failed: Literal["requeue", "stop", "skip"] = "requeue"
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    propagate: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    lineage: int = Field(default=0, ge=0, le=1_000)
    # Not in the repr: an option may be a secret.
    middleware: tuple[Name | dict[str, Any], ...] = Field(default=(), repr=False)

    @model_validator(mode="after")
    def _latest_in_no_transaction(self) -> EngineSettings:
        if self.batch == "latest" and self.delivery == "exactly_once":
            raise ValueError("'batch: latest' needs delivery: at_least_once; superseded messages are in no transaction")
        return self


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["text", "json"]


class LogSettings(Settings):
    """The log of a worker that has its process to itself.

    Attributes:
        level: The lowest level of Penstock's lines; where the program sets up no logging, of all others, too, but for
            debug. None is info, and warning for a drain.
        format: text or json, for all that goes to standard error or output. None is text, and leaves the program's own
            handlers as they are.
        config: A file for Python's `logging`: a mapping for `dictConfig` in YAML, TOML or JSON, or an ini.
    """

    owner: ClassVar[str] = "the log"

    level: Annotated[LogLevel | None, BeforeValidator(_lower)] = None
    format: Annotated[LogFormat | None, BeforeValidator(_lower)] = None
    config: Name | None = None

    @model_validator(mode="after")
    def _one_format(self) -> LogSettings:
        if self.format is not None and self.config is not None:
            raise ValueError("'format' and 'config' exclude each other: the file of 'config' has its own; give one")
        return self


class WorkerSettings(Settings):
    """How the process behaves.

    Attributes:
        metrics_host: The address that metrics and health listen on. Only this machine, unless you say otherwise.
        metrics_port: Their port; None (or "none", "off") for no endpoint, 0 for any free one.
        connect_timeout: Seconds for which a backend that is away when the worker starts is waited for; once connected,
            it waits for as long as it takes.
        shutdown_timeout: Seconds that running messages have to finish after a first signal.
        processes: How many processes run the program, each with all its engines; "auto" is one for each core. They are
            watched, and replaced when they die.
        tune_garbage_collector: Whether Python's garbage collector runs less often while a worker has the process to
            itself (`penstock run`, `Engine.run`). It never does where a worker is embedded (`Worker.serve`).
        routes: Names of installed routes that the port answers, beside its own.
        log: The log, under `penstock run` and `Engine.run`.
    """

    owner: ClassVar[str] = "the worker"

    metrics_host: Name = "127.0.0.1"
    metrics_port: Port = 3000
    connect_timeout: float = Field(default=30.0, ge=0)
    shutdown_timeout: float = Field(default=30.0, ge=0)
    processes: Processes = 1
    tune_garbage_collector: bool = True
    routes: tuple[Name, ...] = ()
    log: LogSettings = Field(default_factory=LogSettings)

    @property
    def process_count(self) -> int:
        """How many processes `processes` means on this machine."""
        return os.cpu_count() or 1 if self.processes == "auto" else self.processes


class PluginSettings(Settings):
    """Which plugins may serve.

    Attributes:
        allow: Distributions that may; None allows all that are installed.
        block: Distributions that may not.
        allow_import_paths: Whether a queue may name a dotted path, which runs that module's code. False for
            deployments where others can write the configuration.
    """

    owner: ClassVar[str] = "the plugins"

    allow: list[Name] | None = None
    block: list[Name] = Field(default_factory=list)
    allow_import_paths: bool = True

    @model_validator(mode="after")
    def _not_both(self) -> PluginSettings:
        if both := sorted(set(self.allow or ()) & set(self.block)):
            raise ValueError(f"{', '.join(map(repr, both))} stands both in 'allow' and in 'block'; take it out of one")
        return self


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration, read and checked as far as possible without plugins.

    Attributes:
        queues: By name, in the order of the source.
        engine, worker, plugins: Their defaults where the source is silent.
        locations: Where each value was written.
        used_variables: Which environment variables went into the value at a path.
        missing_variables: For each queue the variables it needs and does not find. They matter once the queue is used:
            workers that share a file need not share every secret.
        for_tool: A tool uses the queues beside their engines (`--feed`), so an option of the other role may stay.
    """

    queues: Mapping[str, QueueConfig] = field(default_factory=dict)
    engine: EngineSettings = field(default_factory=EngineSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    plugins: PluginSettings = field(default_factory=PluginSettings)
    locations: Locations = field(default_factory=Locations, repr=False)
    used_variables: Mapping[Path, tuple[str, ...]] = field(default_factory=dict, repr=False)
    missing_variables: Mapping[str, Sequence[Problem]] = field(default_factory=dict, repr=False)
    for_tool: bool = False

    def origin(self, path: Path) -> str:
        """Where a value that was written came from: its place, and the variables that went into it."""
        variables = [f"environment {name}" for name in self.used_variables.get(path, ())]
        return ", ".join([str(self.locations.of(path)) or "the configuration", *variables])
