"""Resolves the settings of a queue: profile, names, classes and options, with all problems at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from penstock.config.codecs import choose_codec
from penstock.config.connector_class import choose_connector_class
from penstock.config.connector_options import make_options
from penstock.config.middleware import configured_middleware
from penstock.config.model import Configuration, QueueConfig
from penstock.config.names import unknown_queue
from penstock.config.problems import Problem, located
from penstock.config.resolution import Resolution
from penstock.config.routes import configured_routes
from penstock.errors import ConfigError
from penstock.options import Role
from penstock.plugins.registry import Registry
from penstock.queues.keys import key_reader
from penstock.queues.resolved_queue import ResolvedQueue


def registry_for(configuration: Configuration) -> Registry:
    """A registry that follows the configuration's plugin settings."""
    plugins = configuration.plugins
    return Registry(allow=plugins.allow, block=plugins.block, allow_import_paths=plugins.allow_import_paths)


def resolve_queue(
    configuration: Configuration,
    name: str,
    role: Role,
    *,
    registry: Registry,
    environment: Mapping[str, str] = os.environ,
    browsing: bool = False,
) -> ResolvedQueue:
    """Resolve one queue for one role.

    Args:
        configuration, name, role, registry, environment: As the names say.
        browsing: It is opened only to be browsed, so options that browsing does not need may be missing.

    Raises:
        ConfigError: with every problem of this queue, each with file and line.
    """
    resolution = validate(configuration, name, role, registry=registry, environment=environment, browsing=browsing)
    return _resolved([resolution])[0]


def resolve_queues(
    configuration: Configuration,
    wanted: Iterable[tuple[str, Role]],
    *,
    registry: Registry,
    environment: Mapping[str, str] = os.environ,
) -> list[ResolvedQueue]:
    """Resolve several queues, in their order.

    Raises:
        ConfigError: with every problem of all of them, so that one start shows them all.
    """
    return _resolved([validate(configuration, *each, registry=registry, environment=environment) for each in wanted])


def _resolved(resolutions: Sequence[Resolution]) -> list[ResolvedQueue]:
    # A queue that is both input and output has most of its problems twice.
    problems = dict.fromkeys(problem for resolution in resolutions for problem in resolution.problems)
    if problems:
        raise ConfigError(*problems)
    return [resolution.resolved for resolution in resolutions if resolution.resolved is not None]


def problems_of(
    configuration: Configuration,
    problems: Sequence[Problem],
    wanted: Iterable[tuple[str, Role]],
    for_tools: Iterable[tuple[str, Role]] = (),
) -> Sequence[Problem]:
    """Everything that is wrong with a configuration and with some of its queues, so that one start shows it all.

    Args:
        configuration: What could be read.
        problems: What could not. A queue that was left out because of them is not reported as unknown.
        wanted: The queues, each with its role.
        for_tools: Queues that a tool uses; see `Configuration.for_tool`.
    """
    registry = registry_for(configuration)
    found = dict.fromkeys(problems)
    tools = replace(configuration, for_tool=True)
    for view, (name, role) in [(configuration, each) for each in wanted] + [(tools, each) for each in for_tools]:
        if name in configuration.queues or ("queues", name) not in configuration.locations.roots:
            found |= dict.fromkeys(validate(view, name, role, registry=registry).problems)
    extras = (*configured_middleware(configuration, registry)[1], *configured_routes(configuration, registry)[1])
    return list(found | dict.fromkeys(extras))


def validate(
    configuration: Configuration,
    name: str,
    role: Role,
    *,
    registry: Registry,
    environment: Mapping[str, str] = os.environ,
    browsing: bool = False,
) -> Resolution:
    """Like `resolve_queue`, but returns the problems instead of raising them."""
    queue = configuration.queues.get(name)
    if queue is None:
        text = unknown_queue(name, configuration.queues.keys(), configuration.locations.file)
        missing = QueueConfig.model_construct(name=name)
        problem = Problem(("queues", name), text, role=role)
        return Resolution(configuration, missing, role, registry, environment, problems=[problem])
    resolution = Resolution(configuration, queue, role, registry, environment, browsing=browsing)
    missing_variables = configuration.missing_variables.get(name, ())
    resolution.problems += located(missing_variables, f"queue {name!r}", configuration.locations)
    _find_profile(resolution)
    choice = choose_connector_class(resolution)
    options = make_options(resolution, choice) if choice else None
    codec = choose_codec(resolution)
    batch = _batch(resolution)
    resolution.origins["value"] = resolution.written("value") if queue.value else "default"
    if not isinstance(queue.value, str | None) and not (choice and choice.spec and choice.spec.several):
        text = "'value' is a list, but this connector reads one place; make a queue for each, or write one name as text"
        resolution.problem(("value",), text)
    if queue.retry is not None:
        for key in queue.retry.model_fields_set:
            resolution.origins[f"retry.{key}"] = resolution.written("retry", key)
    given = "envelope" in queue.model_fields_set
    resolution.origins["envelope"] = resolution.written("envelope") if given else "default"
    if resolution.problems or choice is None:
        return resolution
    resolution.resolved = ResolvedQueue(
        name=name,
        value=queue.backend_name,
        location=resolution.location(),
        role=role,
        connector=choice.name,
        connector_class=choice.connector_class,
        options=options,
        capabilities=choice.capabilities,
        serializer=codec.serializer,
        model_handler=codec.model_handler,
        data_model=codec.data_model,
        data_model_is_default=codec.data_model_is_default,
        batch=batch,
        origins=resolution.origins,
        envelope=queue.envelope,
        retry=queue.retry,
        key_of=key_reader(queue.key) if role == "output" and queue.key is not None else None,
        record_options=None if choice.spec is None else choice.spec.record_options,
        max_record_bytes=None if choice.spec is None else choice.spec.max_record_bytes,
    )
    return resolution


def _find_profile(resolution: Resolution) -> None:
    name = resolution.queue.profile
    if name is not None:
        resolution.origins["profile"] = resolution.written("profile")
        resolution.profile = resolution.attempt("profile", lambda: resolution.registry.profile(name))


def _batch(resolution: Resolution) -> bool | None:
    queue, profile = resolution.queue, resolution.profile
    if queue.batch is not None:
        resolution.origins["batch"] = resolution.written("batch")
        return queue.batch
    if profile is not None and profile.batch:
        resolution.origins["batch"] = resolution.from_profile()
        return True
    resolution.origins["batch"] = "default"
    return None
