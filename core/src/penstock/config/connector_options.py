"""What a queue's `config:` becomes: merged, filled in, and checked by the connector's own model and `check`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from penstock.config.connector_class import ConnectorChoice
from penstock.config.fields import keyed_fields
from penstock.config.masking import scrub, secrets_in
from penstock.config.resolution import Resolution
from penstock.config.validation import explain
from penstock.dead_letters import error_text
from penstock.known_secrets import remember
from penstock.options import ConnectorOptions, OptionProblem, fill_from_environment


def make_options(resolution: Resolution, choice: ConnectorChoice) -> Any:
    """The options of the queue, the profile and the environment, in this order, as the connector's model reads them.

    Returns:
        An instance of the model; a new dict where there is none; None, with problems noted, if they are rejected.
    """
    own = resolution.queue.config
    values = {**_profile_config(resolution, choice), **own}
    for key in values:
        if key in own:
            resolution.origins[f"config.{key}"] = resolution.written("config", key)
        else:
            resolution.origins[f"config.{key}"] = resolution.outside[key] = resolution.from_profile()
    model = choice.options_model
    if model is None:
        remember(secrets_in(values, None))
        return values
    values, variables = fill_from_environment(model, values, resolution.role, resolution.environment)
    for key, variable in variables.items():
        resolution.origins[f"config.{key}"] = resolution.outside[key] = f"environment {variable}"
    if resolution.browsing:
        values |= _browse_config(values, choice)
    remember(secrets_in(values, model))
    options = _validated(resolution, choice, model, values)
    if options is None or _runs_code(resolution, choice, options):
        return None
    if not resolution.is_missing("config"):
        _check(resolution, choice, options, values)
    return options


def _profile_config(resolution: Resolution, choice: ConnectorChoice) -> Mapping[str, Any]:
    """The profile's options, which are meant for the profile's own connector only."""
    profile = resolution.profile
    if profile is None or choice.spec is None or choice.spec.name != profile.connector.rpartition(":")[2]:
        return {}
    return _not_given(profile.config, resolution.queue.config, choice)


def _browse_config(values: Mapping[str, Any], choice: ConnectorChoice) -> Mapping[str, Any]:
    """What stands in for options that an input needs and browsing does not."""
    return {} if choice.spec is None else _not_given(choice.spec.browse_config, values, choice)


def _not_given(defaults: Mapping[str, Any], given: Mapping[str, Any], choice: ConnectorChoice) -> Mapping[str, Any]:
    # An option has two spellings: the queue may use the field's name where the profile uses its alias.
    fields = keyed_fields(choice.options_model) if choice.options_model else ()
    spellings = {alias: name for alias, name, _field in fields}
    own = {spellings.get(key, key) for key in given}
    return {key: value for key, value in defaults.items() if spellings.get(key, key) not in own}


def _validated(
    resolution: Resolution, choice: ConnectorChoice, model: type[BaseModel], values: Mapping[str, Any]
) -> BaseModel | None:
    """The options model made of `values`; None, with problems noted, if it rejects them."""
    owner = f"connector {choice.name!r}"
    try:
        return model.model_validate(values)
    except ValidationError as error:
        for problem in explain(error, model, values, owner, ("config",), resolution.role):
            if not resolution.is_missing(*problem.path):
                resolution.problem(problem.path, problem.text)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (the author's validators may raise anything; go on and report it)
        text = scrub(f"{type(error).__name__}: {error_text(error)}", values, model)
        resolution.problem(("config",), f"'config': the options model of {owner} raised {text}")
    return None


def _runs_code(resolution: Resolution, choice: ConnectorChoice, options: BaseModel) -> bool:
    """Note the options that would run code, where a configuration must not; a client never sees them."""
    if resolution.registry.allow_import_paths or not isinstance(options, ConnectorOptions):
        return False
    code = options.code()
    for keys, effect in code.items():
        resolution.problem(
            ("config", *keys),
            f"connector {choice.name!r}: {keys[-1]!r} {effect}, and a configuration must not run code "
            "(plugins.allow_import_paths: false); remove it, or turn import paths on",
        )
    return bool(code)


def _check(resolution: Resolution, choice: ConnectorChoice, options: Any, values: Mapping[str, Any]) -> None:
    """Ask the connector's own `check`, which knows more than its model."""
    spec = choice.spec
    if spec is None or spec.check is None:
        return
    import_string = spec.check
    check = resolution.attempt(resolution.connector_key, lambda: resolution.registry.load(spec, import_string))
    if check is None:
        return
    try:
        texts = list(check(resolution.queue.backend_name, options, resolution.role))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (as above)
        texts = [f"its check raised {type(error).__name__}: {error_text(error)}"]
    for text in texts:
        if resolution.configuration.for_tool and isinstance(text, OptionProblem) and text.other_role:
            continue
        keys = text.keys if isinstance(text, OptionProblem) else ()
        scrubbed = scrub(text, values, choice.options_model)
        resolution.problem(("config", *keys), f"connector {choice.name!r}: {scrubbed}")
