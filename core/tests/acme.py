"""A plugin that no package index has: connectors and profiles with everything that a configuration can stumble over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from penstock.capabilities import Capabilities
from penstock.connectors import Consumer, Producer
from penstock.errors import ProduceError
from penstock.hookspecs import hookimpl
from penstock.message import QueueMessage, Record
from penstock.options import ConnectorOptions, FromEnvironment, OptionProblem, Role
from penstock.specs import ConnectorSpec, Profile

PLUGIN_API = 1


class Tls(BaseModel):
    """Certificates.

    Attributes:
        ca: File of the authorities.
        key_password: Opens the key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    ca: str | None = None
    key_password: SecretStr | None = None


class AcmeOptions(ConnectorOptions):
    """Options of the connector `acme`.

    Attributes:
        host: The server.
        port: Its port,
            one of the usual ones.
        password: Secret.
        group_id: Who consumes together.
        url: All in one.
        tls: True, or how.
        pin: A secret with a rule of its own.
    """

    host: Annotated[str, FromEnvironment("ACME_HOST", input=("ACME_CONSUMER_HOST",), output=("ACME_PRODUCER_HOST",))]
    port: Annotated[int, FromEnvironment("ACME_PORT")] = Field(default=7000, ge=1, le=65535)
    password: Annotated[SecretStr | None, FromEnvironment("ACME_PASSWORD")] = None
    group_id: str | None = Field(default=None, alias="group.id")
    url: str | None = None
    tls: bool | Tls = False
    pin: SecretStr | None = None

    @field_validator("pin")
    @classmethod
    def _is_even(cls, pin: SecretStr | None) -> SecretStr | None:
        if pin is not None and pin.get_secret_value() == "000000":
            raise KeyError(pin.get_secret_value())
        if pin is not None and int(pin.get_secret_value()) % 2:
            raise ValueError(f"must be even, and {pin.get_secret_value()} is not")
        return pin

    @model_validator(mode="after")
    def _one_way(self) -> AcmeOptions:
        if self.url == "none":
            raise ValueError("the server has no name; write 'url' or leave it out")
        return self


class OpenOptions(ConnectorOptions):
    """Passes on what it does not know."""

    model_config = ConfigDict(extra="allow")

    host: str = "localhost"


class AcmeConsumer(Consumer):
    """Never connects: a configuration is judged without a backend."""

    async def connect(self) -> None:
        raise NotImplementedError

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        raise NotImplementedError

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        raise NotImplementedError

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        raise NotImplementedError

    async def shutdown(self) -> None:
        raise NotImplementedError


class AcmeProducer(Producer):
    """Never connects either."""

    async def connect(self) -> None:
        raise NotImplementedError

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        raise NotImplementedError

    async def shutdown(self) -> None:
        raise NotImplementedError


def check(name: str, options: Any, role: Role) -> list[str]:
    """What the options model cannot know: only inputs need a group, and names have no blanks."""
    problems: list[str] = []
    if name == "crash":
        raise RuntimeError(f"no rule for {name}")
    if role == "input" and options.group_id is None:
        problems.append("an input needs 'config.group.id'; write it")
    if options.port == 22:
        problems.append(OptionProblem("'port' is another service's; take one above 1024", "port"))
    if " " in name:
        problems.append("the queue's 'value' has a blank; take it out")
    if options.password is not None and options.password.get_secret_value() == "letmein123":
        problems.append(f"the server refuses the password {options.password.get_secret_value()}; choose another")
    return problems


HERE = __name__
ACME = ConnectorSpec(
    "acme",
    consumer=f"{HERE}:AcmeConsumer",
    producer=f"{HERE}:AcmeProducer",
    options=f"{HERE}:AcmeOptions",
    capabilities=Capabilities(keys=True, ordering="key"),
    check=f"{HERE}:check",
)


@hookimpl
def penstock_connectors() -> list[ConnectorSpec]:
    """Both sides; one side only; one that passes keys on; one without a model; one that does not load."""
    return [
        ACME,
        ConnectorSpec("acme-sink", producer=f"{HERE}:AcmeProducer", options=f"{HERE}:OpenOptions"),
        ConnectorSpec(
            "acme-open", consumer=f"{HERE}:AcmeConsumer", producer=f"{HERE}:AcmeProducer", options=f"{HERE}:OpenOptions"
        ),
        ConnectorSpec("acme-bare", consumer=f"{HERE}:AcmeConsumer", producer=f"{HERE}:AcmeProducer"),
    ]


@hookimpl
def penstock_profiles() -> list[Profile]:
    """One with options, one with every stage off, one that batches."""
    return [
        Profile("acme", connector="acme", config={"port": 7001, "group.id": "shared"}),
        Profile("acme-dlq", connector="acme-bare", serializer=None, model_handler=None, data_model=None),
        Profile("acme-batch", connector="acme-bare", batch=True),
    ]


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make the plugin an installed one, as far as the metadata tell, for one test."""
    metadata = folder / "site" / "acme-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[penstock]\nacme = {HERE}\n")
    monkeypatch.syspath_prepend(str(folder / "site"))
    for name in ("ACME_HOST", "ACME_CONSUMER_HOST", "ACME_PRODUCER_HOST", "ACME_PORT", "ACME_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
