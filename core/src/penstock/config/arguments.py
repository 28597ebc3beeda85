"""Checks what a program says of an engine, and no configuration: its queues, its name and its port."""

from __future__ import annotations

import enum
from typing import Any, ClassVar

from penstock.config.model import Name, Port, Settings


class Given(enum.Enum):
    """Whether an argument was given."""

    NOT = "not given"


NOT_GIVEN = Given.NOT
"""The default of an argument for which None means something."""


class EngineArguments(Settings):
    """The arguments of `Engine` that are checked together; their meaning is in its docstring."""

    owner: ClassVar[str] = "the engine"

    input_queue: Name
    output_queues: tuple[Name, ...] = ()
    app_name: Name | None = None
    dead_letter_queue: Name | None = None
    metrics_port: Port = None


def check_names(input_queue: Any, output_queues: tuple[Any, ...], **optional: Any) -> None:
    """Reject what is not text.

    Raises:
        ConfigError: it names the argument.
    """
    names = (input_queue, *output_queues, *(name for name in optional.values() if name is not None))
    # The model is only made for its sentences: to build it would double the time that a program takes to start.
    if not all(isinstance(name, str) and name for name in names):
        EngineArguments(input_queue=input_queue, output_queues=output_queues, **optional)


def checked_port(port: Any) -> int | None:
    """A port as a configuration reads it.

    Raises:
        ConfigError: it is not a port.
    """
    return EngineArguments(input_queue="-", metrics_port=port).metrics_port
