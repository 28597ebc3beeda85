"""Which connector class serves a queue, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from penstock.capabilities import Capabilities
from penstock.config.unresolved import UnresolvedQueue
from penstock.errors import PluginError, UnknownNameError
from penstock.queues.adapters import undeclared_capabilities
from penstock.specs import ConnectorSpec


@dataclass(frozen=True, slots=True)
class Backend:
    """A connector's class for one role, and what is known about it.

    Attributes:
        name: For messages and metrics.
        connector_class: The class itself.
        capabilities: The spec's; a class of the user's own may declare its own as a class attribute `capabilities`.
        options_model: The same, as `options_model`; None leaves `config:` a plain mapping.
        spec: Where the class comes from; None for a class of the user's own.
    """

    name: str
    connector_class: type[Any]
    capabilities: Capabilities
    options_model: type[BaseModel] | None
    spec: ConnectorSpec | None


def choose_backend(unresolved: UnresolvedQueue) -> Backend | None:
    """The queue's own class, else its connector's, else its profile's; None, and a problem, if there is none."""
    side = "consumer" if unresolved.role == "input" else "producer"
    own = getattr(unresolved.queue, side)
    spec = _spec(unresolved, side, needed=own is None)
    if own is not None:
        return _own_class(unresolved, side, own, spec)
    if spec is None:
        return None
    import_string = getattr(spec, side)
    if import_string is None:
        unresolved.possible = False
        only = "an output" if unresolved.role == "input" else "an input"
        role = "an input" if unresolved.role == "input" else "an output"
        unresolved.problem(
            (unresolved.connector_key,),
            f"connector {spec.name!r} has no {side}, so the queue can be {only} but not {role}; use another connector",
        )
        return None
    registry = unresolved.registry
    unresolved.origins[side] = f"connector {spec.name}"
    connector_class = unresolved.attempt(unresolved.connector_key, lambda: registry.load(spec, import_string))
    model = _options_model(unresolved, spec)
    if connector_class is None:
        return None
    return Backend(spec.name, connector_class, spec.capabilities, model, spec)


def _spec(unresolved: UnresolvedQueue, side: str, *, needed: bool) -> ConnectorSpec | None:
    queue, profile, registry = unresolved.queue, unresolved.profile, unresolved.registry
    if isinstance(queue.connector, ConnectorSpec):
        unresolved.origins["connector"] = unresolved.written("connector")
        return queue.connector
    if queue.connector is not None:
        unresolved.origins["connector"] = unresolved.written("connector")
        name = queue.connector
        return unresolved.attempt("connector", lambda: _named_spec(unresolved, name))
    if profile is not None:
        unresolved.origins["connector"] = unresolved.from_profile()
        if needed:
            return unresolved.attempt("profile", lambda: registry.connector(profile.connector))
        try:
            return registry.connector(profile.connector)
        except PluginError:
            return None  # The queue's own class stands in for it, so nobody needs it.
    if needed and queue.profile is None:
        _neither(unresolved, side)
    return None


def _named_spec(unresolved: UnresolvedQueue, value: str) -> ConnectorSpec:
    found: Any = unresolved.target("connector", value, unresolved.registry.connector)
    if not isinstance(found, ConnectorSpec):
        raise UnknownNameError(
            f"'connector' is {value!r}, which is no ConnectorSpec; a connector is named as its plugin offers it, "
            "a class goes under 'consumer' or 'producer'"
        )
    return found


def _neither(unresolved: UnresolvedQueue, side: str) -> None:
    queue = unresolved.queue
    role = "an input" if side == "consumer" else "an output"
    other = "producer" if side == "consumer" else "consumer"
    if getattr(queue, other) is not None:
        unresolved.possible = False
        unresolved.problem((), f"has a {other!r} only, so it cannot be {role}; add a {side!r}")
        return
    installed = ", ".join(unresolved.registry.names("connector"))
    unresolved.problem(
        (), f"names no backend; add 'connector' (installed: {installed or 'none'}), 'profile', or a class as {side!r}"
    )


def _own_class(unresolved: UnresolvedQueue, side: str, own: Any, spec: ConnectorSpec | None) -> Backend | None:
    unresolved.origins[side] = unresolved.written(side)
    found = unresolved.attempt(side, lambda: unresolved.imported(side, own))
    if found is None:
        return None
    method = "consume" if side == "consumer" else "produce"
    shown = repr(own) if isinstance(own, str) else getattr(own, "__qualname__", repr(own))
    if not isinstance(found, type):
        unresolved.problem((side,), f"{side!r} is {shown}, which is no class but a {type(found).__name__}")
        return None
    if not callable(getattr(found, method, None)):
        unresolved.problem(
            (side,),
            f"{side!r} is {shown}, which has no method {method!r}; "
            f"derive it from penstock.connectors.{side.capitalize()}",
        )
        return None
    if spec is not None and _derives(found, getattr(spec, side)):
        return Backend(spec.name, found, spec.capabilities, _options_model(unresolved, spec), spec)
    capabilities = getattr(found, "capabilities", None)
    model = getattr(found, "options_model", None)
    return Backend(
        found.__name__,
        found,
        capabilities if isinstance(capabilities, Capabilities) else undeclared_capabilities(found),
        model if isinstance(model, type) and issubclass(model, BaseModel) else None,
        None,
    )


def _derives(found: type[Any], import_string: str | None) -> bool:
    """Whether a class comes from a connector's own, told by names so that nothing is imported to find out."""
    return any(f"{parent.__module__}:{parent.__qualname__}" == import_string for parent in found.__mro__)


def _options_model(unresolved: UnresolvedQueue, spec: ConnectorSpec) -> type[BaseModel] | None:
    import_string = spec.options
    if import_string is None:
        return None
    return unresolved.attempt(unresolved.connector_key, lambda: unresolved.registry.load(spec, import_string))
