"""The reference connector's options, and those of mutants that are configured wrongly."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import ConfigDict, SecretStr, model_validator

from penstock.options import ConnectorOptions


class ReferenceOptions(ConnectorOptions):
    """Options.

    Attributes:
        path: The file. Files beside it tell what happens to servers: `….away`, `….hangs`, `….started`.
        group: The consumer group.
        lease: Seconds.
        password: Of no use.
    """

    path: str
    group: str = "main"
    lease: float = 20.0
    password: SecretStr | None = None


class TakesAnyOption(ReferenceOptions):
    """A misspelt key is not a key."""

    model_config = ConfigDict(extra="ignore")


class PlainPassword(ReferenceOptions):
    """A password like any text."""

    password: str | None = None  # type: ignore[assignment]  # that is the fault


class AnswersForAll(ReferenceOptions):
    """Looks at everything at once, and says only that something is wrong."""

    @model_validator(mode="before")
    @classmethod
    def complete(cls, values: Any) -> Any:
        if "path" not in values:
            raise ValueError("the options are not complete")
        return values


class Somewhere:
    """No data."""


class HasNoSchema(ReferenceOptions):
    """Holds what no editor can know."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    somewhere: Somewhere | None = None


def asks_the_server(name: str, options: ReferenceOptions, role: str) -> Sequence[str]:
    """A check that cannot be made without a server."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", 9), timeout=0.1):
        pass
    return []
