"""What a plugin's hooks return: names, and import strings that are imported only when a queue needs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from penstock.capabilities import Capabilities
from penstock.errors import PluginError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_IMPORT_STRING = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class _Spec:
    """What all specs have: a kind, and names and import strings that are checked when a plugin makes them."""

    __slots__ = ()
    kind: ClassVar[str]
    _import_strings: ClassVar[tuple[str, ...]] = ("target",)

    name: str

    def __post_init__(self) -> None:
        subject = f"{self.kind} {self.name!r}"
        if not _NAME.fullmatch(self.name):
            raise PluginError(f"{subject}: a name is of lower-case letters, digits, '.', '_' and '-'")
        for key in self._import_strings:
            value = getattr(self, key)
            if value is not None and not _IMPORT_STRING.fullmatch(value):
                raise PluginError(f"{subject}: {key}={value!r} is not an import string; write 'package.module:Name'")


@dataclass(frozen=True, slots=True)
class _TargetSpec(_Spec):
    name: str
    target: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class ConnectorSpec(_Spec):
    """A connector that a plugin offers.

    Attributes:
        name: What a config writes after `connector:`.
        consumer, producer: Import strings of the classes ("penstock_kafka.consumer:KafkaConsumer"); None where the
            connector has no such side.
        options: Import string of the `ConnectorOptions` model; its module must not import the client library.
        capabilities: What the connector can do.
        check: Import string of `check(name, options, role) -> Sequence[str]`, which checks options without a
            broker and returns one sentence a problem (`OptionProblem`); None if the options model is enough.
        summary: One line for `penstock plugins`.
        record_options: Names that `Record.options` may have; a record with another one is rejected before it reaches
            the producer. None leaves the check to the producer.
        max_record_bytes: The largest record, with key and headers; a larger one is rejected likewise.
        several: An input's `value` may be several names, as a list or with commas between them.
        browse_config: Options that an input needs and `browse` does not, with what stands in for them: a queue that is
            opened only to be browsed has these where the configuration gives none.
    """

    kind: ClassVar[str] = "connector"
    _import_strings: ClassVar[tuple[str, ...]] = ("consumer", "producer", "options", "check")

    name: str
    consumer: str | None = None
    producer: str | None = None
    options: str | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)
    check: str | None = None
    summary: str = ""
    record_options: frozenset[str] | None = None
    max_record_bytes: int | None = None
    several: bool = False
    browse_config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _Spec.__post_init__(self)
        if self.consumer is None and self.producer is None:
            raise PluginError(f"connector {self.name!r} has neither a consumer nor a producer")


@dataclass(frozen=True, slots=True)
class SerializerSpec(_TargetSpec):
    """A serializer that a plugin offers; `target` is the import string of a `Serializer` class."""

    kind: ClassVar[str] = "serializer"


@dataclass(frozen=True, slots=True)
class ModelHandlerSpec(_TargetSpec):
    """A model handler that a plugin offers; `target` is the import string of a `ModelHandler` class."""

    kind: ClassVar[str] = "model_handler"


@dataclass(frozen=True, slots=True)
class Profile(_Spec):
    """A named preset. Each part can be overridden by the queue that uses it.

    Attributes:
        name: What a config writes after `profile:`.
        connector, serializer, model_handler: Names, as a config would write them; None turns that stage off.
        data_model: Import string of the default data model, or None.
        config: Defaults for the queue's `config:` key.
        batch: The function gets a list of messages instead of one.
        summary: One line for `penstock plugins`.
    """

    kind: ClassVar[str] = "profile"
    _import_strings: ClassVar[tuple[str, ...]] = ("data_model",)

    name: str
    connector: str
    serializer: str | None = "json"
    model_handler: str | None = "pydantic"
    data_model: str | None = "penstock.data_models:GenericMessage"
    config: Mapping[str, Any] = field(default_factory=dict)
    batch: bool = False
    summary: str = ""


def standard_profiles(
    connector: str, stored: str, *, name: str | None = None, also: Mapping[str, str] | None = None
) -> list[Profile]:
    """The profiles that a connector offers: NAME, NAME-pydantic, NAME-batch and NAME-dlq.

    Args:
        connector: The connector's name.
        stored: Where messages are, to go on after "JSON ": "on Redis".
        name: NAME, if it is not the connector's.
        also: More profiles, by what follows NAME-, with the serializer of each.
    """
    name = name or connector
    more = {"pydantic": "json", **(also or {})}
    return [
        Profile(name, connector, summary=f"JSON {stored}"),
        *(
            Profile(f"{name}-{suffix}", connector, serializer=serializer, summary=f"{serializer} {stored}, validated")
            for suffix, serializer in more.items()
        ),
        Profile(f"{name}-batch", connector, batch=True, summary=f"JSON {stored}; the function gets lists"),
        Profile(
            f"{name}-dlq",
            connector,
            serializer=None,
            model_handler=None,
            data_model=None,
            summary=f"bytes {stored} as they are, for dead letters",
        ),
    ]


@dataclass(frozen=True, slots=True)
class CommandSpec(_TargetSpec):
    """A command that a plugin adds to `penstock`, as `penstock NAME …`.

    Attributes:
        name: What is typed after `penstock`.
        target: Import string of an object with `configure(parser)`, which adds arguments to an argparse parser, and
            `run(arguments)`, which returns the exit code. It is imported when the command is used.
        summary: One line for help and `penstock plugins`.
    """

    kind: ClassVar[str] = "command"


@dataclass(frozen=True, slots=True)
class MiddlewareSpec(_TargetSpec):
    """A middleware that a plugin offers.

    Attributes:
        name: What a config writes in `engine.middleware`.
        target: Import string of a class derived from `penstock.middleware.Middleware`, whose fields are the options
            that a config may give, or of a function with one `yield`, which has no options.
        summary: One line for `penstock plugins`.
    """

    kind: ClassVar[str] = "middleware"


@dataclass(frozen=True, slots=True)
class RouteSpec(_Spec):
    """A route that a plugin offers for the port of a worker.

    Attributes:
        name: What a config writes in `worker.routes`.
        path: Where it is, such as "/dashboard".
        target: Import string of `answer(report) -> Response`; see `penstock.routes`.
        summary: One line for `penstock plugins`.
    """

    kind: ClassVar[str] = "route"

    name: str
    path: str
    target: str
    summary: str = ""


Spec = ConnectorSpec | SerializerSpec | ModelHandlerSpec | Profile | CommandSpec | MiddlewareSpec | RouteSpec
