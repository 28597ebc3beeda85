"""The sound connector's options, and those of saboteurs that are configured wrongly."""

from __future__ import annotations

from pydantic import ConfigDict, SecretStr

from penstock.options import ConnectorOptions


class SoundOptions(ConnectorOptions):
    """Options.

    Attributes:
        path: The file. Files beside it play what happens to servers: `….away`, `….hangs`, `….started`.
        group: The consumer group.
        lease: Seconds.
        password: Of no use.
    """

    path: str
    group: str = "main"
    lease: float = 20.0
    password: SecretStr | None = None


class TakesAnyOption(SoundOptions):
    """A misspelt key is no key."""

    model_config = ConfigDict(extra="ignore")


class PlainPassword(SoundOptions):
    """A password like any text."""

    password: str | None = None  # type: ignore[assignment]  # that is the fault
