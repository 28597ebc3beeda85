"""Chooses the connector class of a queue, and collects what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from penstock.capabilities import Capabilities
from penstock.config.resolution import Resolution, stands_for
from penstock.errors import PluginError, UnknownNameError
from penstock.queues.adapters import undeclared_capabilities
from penstock.specs import ConnectorSpec


@dataclass(frozen=True, slots=True)
class ConnectorChoice:
    """A connector's class for one role.

    Attributes:
        name: For messages and metrics.
        connector_class: The class itself.
        capabilities: The spec's; a class of the user's own may declare its own as a class attribute `capabilities`.
        options_model: The same, as `options_model`; None leaves `config:` a plain mapping.
        spec: The spec that names the class; None for a class of the user's own.
    """

    name: str
    connector_class: type[Any]
    capabilities: Capabilities
    options_model: type[BaseModel] | None
    spec: ConnectorSpec | None


def choose_connector_class(resolution: Resolution) -> ConnectorChoice | None:
    """The queue's own class, else its connector's, else its profile's; None, with a problem noted, without any."""
    side = "consumer" if resolution.role == "input" else "producer"
    own = getattr(resolution.queue, side)
    spec = _spec(resolution, side, needed=own is None)
    if own is not None:
        found: Any = resolution.attempt(side, lambda: resolution.imported(side, own))
        name = stands_for(found)
        if found is None or name is None:
            return None if found is None else _own_class(resolution, side, own, found, spec)
        spec = resolution.attempt(side, lambda: resolution.registry.connector(name))
    if spec is None:
        return None
    import_string = getattr(spec, side)
    if import_string is None:
        resolution.possible = False
        only = "an output" if resolution.role == "input" else "an input"
        role = "an input" if resolution.role == "input" else "an output"
        resolution.problem(
            (resolution.connector_key,),
            f"connector {spec.name!r} has no {side}, so the queue can be {only} but not {role}; use another connector",
        )
        return None
    registry = resolution.registry
    resolution.origins[side] = f"connector {spec.name}"
    connector_class = resolution.attempt(resolution.connector_key, lambda: registry.load(spec, import_string))
    model = _options_model(resolution, spec)
    if connector_class is None:
        return None
    return ConnectorChoice(spec.name, connector_class, spec.capabilities, model, spec)


def _spec(resolution: Resolution, side: str, *, needed: bool) -> ConnectorSpec | None:
    queue, profile, registry = resolution.queue, resolution.profile, resolution.registry
    if isinstance(queue.connector, ConnectorSpec):
        resolution.origins["connector"] = resolution.written("connector")
        return queue.connector
    if queue.connector is not None:
        resolution.origins["connector"] = resolution.written("connector")
        name = queue.connector
        return resolution.attempt("connector", lambda: _named_spec(resolution, name))
    if profile is not None:
        resolution.origins["connector"] = resolution.from_profile()
        if needed:
            return resolution.attempt("profile", lambda: registry.connector(profile.connector))
        try:
            return registry.connector(profile.connector)
        except PluginError:
            return None  # The queue's own class replaces it.
    if needed and queue.profile is None:
        _note_no_connector(resolution, side)
    return None


def _named_spec(resolution: Resolution, value: str) -> ConnectorSpec:
    found: Any = resolution.target("connector", value, resolution.registry.connector)
    if not isinstance(found, ConnectorSpec):
        raise UnknownNameError(
            f"'connector' is {value!r}, which is not a ConnectorSpec; write the name that a plugin offers, "
            "and a class under 'consumer' or 'producer'"
        )
    return found


def _note_no_connector(resolution: Resolution, side: str) -> None:
    queue = resolution.queue
    role = "an input" if side == "consumer" else "an output"
    other = "producer" if side == "consumer" else "consumer"
    if getattr(queue, other) is not None:
        resolution.possible = False
        resolution.problem((), f"has a {other!r} only, so it cannot be {role}; add a {side!r}")
        return
    installed = ", ".join(resolution.registry.names("connector"))
    resolution.problem(
        (), f"names no backend; add 'connector' (installed: {installed or 'none'}), 'profile', or a class as {side!r}"
    )


def _own_class(
    resolution: Resolution, side: str, own: Any, found: Any, spec: ConnectorSpec | None
) -> ConnectorChoice | None:
    resolution.origins[side] = resolution.written(side)
    method = "consume" if side == "consumer" else "produce"
    shown = repr(own) if isinstance(own, str) else getattr(own, "__qualname__", repr(own))
    if not isinstance(found, type):
        resolution.problem((side,), f"{side!r} is {shown}, which is not a class but a {type(found).__name__}")
        return None
    if not callable(getattr(found, method, None)):
        resolution.problem(
            (side,),
            f"{side!r} is {shown}, which has no method {method!r}; "
            f"derive it from penstock.connectors.{side.capitalize()}",
        )
        return None
    if spec is not None and _derives(found, getattr(spec, side)):
        return ConnectorChoice(spec.name, found, spec.capabilities, _options_model(resolution, spec), spec)
    capabilities = getattr(found, "capabilities", None)
    model = getattr(found, "options_model", None)
    return ConnectorChoice(
        found.__name__,
        found,
        capabilities if isinstance(capabilities, Capabilities) else undeclared_capabilities(found),
        model if isinstance(model, type) and issubclass(model, BaseModel) else None,
        None,
    )


def _derives(found: type[Any], import_string: str | None) -> bool:
    """Whether a class derives from a connector's own; compared by name, so that nothing is imported for it."""
    return any(f"{parent.__module__}:{parent.__qualname__}" == import_string for parent in found.__mro__)


def _options_model(resolution: Resolution, spec: ConnectorSpec) -> type[BaseModel] | None:
    import_string = spec.options
    if import_string is None:
        return None
    return resolution.attempt(resolution.connector_key, lambda: resolution.registry.load(spec, import_string))
