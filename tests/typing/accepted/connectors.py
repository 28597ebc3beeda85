"""A connector, a serializer, a model handler and a plugin of the user's own."""

# ruff: noqa: A002, ARG002  (the contracts say what the parameters are)

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import SecretStr

from penstock import (
    BlockingConsumer,
    BlockingProducer,
    Consumer,
    Engine,
    ModelHandler,
    Producer,
    QueueConfig,
    QueueMessage,
    Record,
    Serializer,
)
from penstock.connectors import (
    Capabilities,
    ConnectorOptions,
    FatalConnectorError,
    FromEnvironment,
    NotConnected,
    ProduceError,
)
from penstock.hookspecs import hookimpl
from penstock.offsets import OffsetTracker
from penstock.specs import ConnectorSpec, Profile

PLUGIN_API = 1


class Options(ConnectorOptions):
    """Under `config:`."""

    host: Annotated[str, FromEnvironment("ACME_HOST")] = "localhost"
    password: SecretStr | None = None


class AcmeConsumer(Consumer):
    """Asynchronous."""

    options: Options
    capabilities: ClassVar[Capabilities] = Capabilities(lease=True, ordering="key")

    async def connect(self) -> None:
        if self.options.password is None:
            raise FatalConnectorError(f"{self.name}: no password")
        self.lease = 30.0

    async def consume(self, max_messages: int, timeout: float) -> list[QueueMessage]:
        raise NotConnected("away", retry_after=timeout)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        return 0

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        print(delay, [message.position for message in messages])

    async def lag(self) -> int:
        return 7

    async def shutdown(self) -> None: ...


class AcmeProducer(Producer):
    """Asynchronous."""

    async def connect(self) -> None: ...

    async def produce(self, records: Sequence[Record]) -> list[ProduceError | None]:
        return [None if record.message else ProduceError("empty", retriable=False) for record in records]

    async def shutdown(self) -> None: ...


class FileConsumer(BlockingConsumer):
    """Blocking, and with a constructor of its own."""

    keep_polling = True

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        super().__init__(name, options)
        self.offsets: OffsetTracker[tuple[str, int]] = OffsetTracker()

    def connect(self) -> None: ...

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return [QueueMessage(None, b"", key=b"k", headers=[("a", b"b")], timestamp=0.0, attempts=1, position="1")]

    def on_success(self, messages: Sequence[QueueMessage]) -> None: ...

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None: ...

    def shutdown(self) -> None: ...


class FileProducer(BlockingProducer):
    """Blocking."""

    def connect(self) -> None: ...

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return [None] * len(records)

    def shutdown(self) -> None: ...


class Lines(Serializer):
    """A format."""

    format = "lines"

    def serialize(self, data: list[str]) -> bytes:
        return "\n".join(data).encode()

    def deserialize(self, body: bytes) -> list[str]:
        return body.decode().splitlines()


class Direct(ModelHandler):
    """One pass for JSON."""

    direct_formats = frozenset({"json"})

    def construct(self, data: Any, data_model: Any) -> Any:
        return data_model(**data)

    def deconstruct(self, model: Any, data_model: Any) -> Any:
        return vars(model)

    def decoder(self, data_model: Any, format: str) -> Callable[[Any], Any]:
        return json.loads if format else super().decoder(data_model, format)


app = Engine(
    "files",
    queue_config=[
        QueueConfig(name="files", consumer=FileConsumer, producer=FileProducer, serializer=Lines, model_handler=Direct)
    ],
)


@hookimpl
def penstock_connectors() -> list[ConnectorSpec]:
    """As a plugin offers them."""
    return [ConnectorSpec("acme", consumer="acme:AcmeConsumer", producer="acme:AcmeProducer", options="acme:Options")]


@hookimpl
def penstock_profiles() -> list[Profile]:
    """As a plugin offers them."""
    return [Profile("acme", connector="acme", serializer=None, config={"host": "db"}, batch=True)]
