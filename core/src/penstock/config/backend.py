"""Which connector class serves a queue, and with which options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from penstock.capabilities import Capabilities
from penstock.config.faults import explain
from penstock.config.fields import keyed_fields
from penstock.config.masking import scrub
from penstock.config.unresolved import UnresolvedQueue
from penstock.errors import PluginError, UnknownNameError
from penstock.options import fill_from_environment
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
        key = "connector" if unresolved.queue.connector is not None else "profile"
        unresolved.problem(
            (key,),
            f"connector {spec.name!r} has no {side}, so the queue can be {only} but not {role}; use another connector",
        )
        return None
    registry = unresolved.registry
    unresolved.origins[side] = f"connector {spec.name}"
    key = "connector" if unresolved.queue.connector is not None else "profile"
    connector_class = unresolved.attempt(key, lambda: registry.load(spec, import_string))
    model = _options_model(unresolved, spec, key)
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
        key = "connector" if unresolved.queue.connector is not None else "profile"
        return Backend(spec.name, found, spec.capabilities, _options_model(unresolved, spec, key), spec)
    capabilities = getattr(found, "capabilities", None)
    model = getattr(found, "options_model", None)
    return Backend(
        found.__name__,
        found,
        capabilities if isinstance(capabilities, Capabilities) else Capabilities(),
        model if isinstance(model, type) and issubclass(model, BaseModel) else None,
        None,
    )


def _derives(found: type[Any], import_string: str | None) -> bool:
    """Whether a class comes from a connector's own, told by names so that nothing is imported to find out."""
    return any(f"{parent.__module__}:{parent.__qualname__}" == import_string for parent in found.__mro__)


def _options_model(unresolved: UnresolvedQueue, spec: ConnectorSpec, key: str) -> type[BaseModel] | None:
    import_string = spec.options
    if import_string is None:
        return None
    return unresolved.attempt(key, lambda: unresolved.registry.load(spec, import_string))


def make_options(unresolved: UnresolvedQueue, backend: Backend) -> Any:
    """The queue's `config:`, over the profile's, over the environment, as the connector's options model sees it.

    Returns:
        An instance of the model; a new dict where there is none; None, with problems noted, if it is refused.
    """
    own = unresolved.queue.config
    values = {**_profile_config(unresolved, backend), **own}
    for key in values:
        unresolved.origins[f"config.{key}"] = (
            unresolved.written("config", key) if key in own else unresolved.from_profile()
        )
    model = backend.options_model
    if model is None:
        return values
    values, variables = fill_from_environment(model, values, unresolved.role, unresolved.environment)
    unresolved.origins |= {f"config.{key}": f"environment {variable}" for key, variable in variables.items()}
    try:
        options = model.model_validate(values)
    except ValidationError as error:
        _note_refusal(unresolved, backend, error, model, values)
        return None
    if not unresolved.is_missing("config"):
        _judge(unresolved, backend, options, values)
    return options


def _profile_config(unresolved: UnresolvedQueue, backend: Backend) -> Mapping[str, Any]:
    """The profile's options; they are its own connector's, so no other connector gets them."""
    profile = unresolved.profile
    if profile is None or backend.spec is None or backend.spec.name != profile.connector.rpartition(":")[2]:
        return {}
    # One option, two spellings: the queue may use the field's name where the profile uses its alias.
    fields = keyed_fields(backend.options_model) if backend.options_model else ()
    spellings = {alias: name for alias, name, _field in fields}
    own = {spellings.get(key, key) for key in unresolved.queue.config}
    return {key: value for key, value in profile.config.items() if spellings.get(key, key) not in own}


def _note_refusal(
    unresolved: UnresolvedQueue,
    backend: Backend,
    error: ValidationError,
    model: type[BaseModel],
    values: Mapping[str, Any],
) -> None:
    owner = f"connector {backend.name!r}"
    for fault in explain(error, model, values, owner, ("config",), unresolved.role):
        if unresolved.is_missing(*fault.path):
            continue
        origin = unresolved.origins.get(f"config.{fault.path[1]}") if len(fault.path) > 1 else None
        elsewhere = origin if origin and origin.startswith(("profile ", "environment ")) else None
        unresolved.problem(fault.path, fault.text, elsewhere)


def _judge(unresolved: UnresolvedQueue, backend: Backend, options: Any, values: Mapping[str, Any]) -> None:
    """Ask the connector's own check, which knows what a model cannot."""
    spec = backend.spec
    if spec is None or spec.check is None:
        return
    import_string = spec.check
    key = "connector" if unresolved.queue.connector is not None else "profile"
    check = unresolved.attempt(key, lambda: unresolved.registry.load(spec, import_string))
    if check is None:
        return
    for text in check(unresolved.queue.value or unresolved.queue.name, options, unresolved.role):
        unresolved.problem(("config",), f"connector {backend.name!r}: {scrub(text, values, backend.options_model)}")
