"""The configuration of one queue, checked and looked up: all that is needed to open it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from penstock.capabilities import Capabilities
from penstock.model_handlers import ModelHandler
from penstock.options import Role
from penstock.queues.keys import KeyOf
from penstock.retry import QueueRetry
from penstock.serializers import Serializer


@dataclass(frozen=True, slots=True)
class ResolvedQueue:
    """A queue, ready to be opened for one role.

    Attributes:
        name: What engines and functions call it.
        value: The backend's name of it.
        location: Where it is configured ("queues.yml:12"); empty for a configuration made in Python.
        role: What it is opened for.
        connector: The connector's name, or the class's, for messages and metrics.
        connector_class: A consumer's class for an input, a producer's for an output; made as `class(value, options)`.
        options: What the connector's options model made of `config:`; a plain dict where there is no model.
        capabilities: What the connector can do.
        key_of: Reads the key of an object that is sent; None where the configuration names none.
        record_options: Options that a record may have; None if the connector checks them itself.
        max_record_bytes: The largest record that the connector takes; None if unknown.
        serializer, model_handler: None if it is turned off.
        data_model: What the model handler builds; None without one.
        data_model_is_default: The configuration does not choose it, so a function's annotation may replace it.
        envelope: Whether key and headers that the backend cannot carry travel inside the body.
        retry: How it treats a backend that is away; None where the configuration does not say.
        batch: The function gets lists; None if neither queue nor profile set it.
        origins: For each key ("connector", "config.port") where its value came from.
    """

    name: str
    value: str
    location: str
    role: Role
    connector: str
    connector_class: type[Any]
    # Not in the repr: it may be a plain dict with passwords.
    options: Any = field(repr=False)
    capabilities: Capabilities
    serializer: Serializer | None
    model_handler: ModelHandler | None
    data_model: Any
    data_model_is_default: bool
    batch: bool | None
    origins: Mapping[str, str] = field(repr=False)
    key_of: KeyOf | None = None
    envelope: bool = True
    retry: QueueRetry | None = None
    record_options: Set[str] | None = None
    max_record_bytes: int | None = None
