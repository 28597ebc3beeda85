"""What a queue's `config:` becomes: merged, filled in, and judged by the connector's own model and check."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from penstock.config.backend import Backend
from penstock.config.faults import explain
from penstock.config.fields import keyed_fields
from penstock.config.masking import scrub, secrets_in
from penstock.config.places import Path
from penstock.config.unresolved import UnresolvedQueue
from penstock.dead_letters import error_text
from penstock.known_secrets import remember
from penstock.options import ConnectorOptions, fill_from_environment

_LEADING_KEY = re.compile(r"'(?:config\.)?([^']+)'")


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
        remember(secrets_in(values, None))
        return values
    values, variables = fill_from_environment(model, values, unresolved.role, unresolved.environment)
    unresolved.origins |= {f"config.{key}": f"environment {variable}" for key, variable in variables.items()}
    remember(secrets_in(values, model))
    try:
        options = model.model_validate(values)
    except ValidationError as error:
        _note_refusal(unresolved, backend, error, model, values)
        return None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (a stranger's validators: other problems shall still be told)
        text = scrub(f"{type(error).__name__}: {error_text(error)}", values, model)
        unresolved.problem(("config",), f"'config': the options model of connector {backend.name!r} raised {text}")
        return None
    if _refuse_code(unresolved, backend, options):
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
        if not unresolved.is_missing(*fault.path):
            unresolved.problem(fault.path, fault.text, _elsewhere(unresolved, fault.path))


def _elsewhere(unresolved: UnresolvedQueue, path: Path) -> str | None:
    """Where an option came from, if not from the configuration."""
    origin = unresolved.origins.get(f"config.{path[1]}", "") if len(path) > 1 else ""
    return origin if origin.startswith(("profile ", "environment ")) else None


def _refuse_code(unresolved: UnresolvedQueue, backend: Backend, options: BaseModel) -> bool:
    """Note the options that would run code, where a configuration must not; before a client sees them."""
    if unresolved.registry.allow_import_paths or not isinstance(options, ConnectorOptions):
        return False
    code = options.code()
    for key, what in code.items():
        path: Path = ("config", *key.split(":"))
        unresolved.problem(
            path,
            f"connector {backend.name!r}: {key.rpartition(':')[2]!r} {what}, and a configuration must not run code "
            "(plugins.allow_import_paths: false); remove it, or turn import paths on",
            _elsewhere(unresolved, path),
        )
    return bool(code)


def _judge(unresolved: UnresolvedQueue, backend: Backend, options: Any, values: Mapping[str, Any]) -> None:
    """Ask the connector's own check, which knows what a model cannot."""
    spec = backend.spec
    if spec is None or spec.check is None:
        return
    import_string = spec.check
    check = unresolved.attempt(unresolved.connector_key, lambda: unresolved.registry.load(spec, import_string))
    if check is None:
        return
    try:
        texts = list(check(unresolved.queue.value or unresolved.queue.name, options, unresolved.role))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (as above)
        texts = [f"its check raised {type(error).__name__}: {error_text(error)}"]
    for text in texts:
        # A sentence that begins with an option's name is about the line where that stands.
        key = _LEADING_KEY.match(text)
        path: Path = ("config", key[1]) if key and key[1] in values else ("config",)
        said = scrub(text, values, backend.options_model)
        unresolved.problem(path, f"connector {backend.name!r}: {said}", _elsewhere(unresolved, path))
