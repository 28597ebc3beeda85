"""A queue's settings into what the engine opens: profile, names, classes, options, all problems at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.capabilities import Capabilities
from penstock.config.backend import choose_backend
from penstock.config.backend_options import make_options
from penstock.config.faults import placed
from penstock.config.middleware import configured_middleware
from penstock.config.model import Configuration
from penstock.config.names import unknown_queue
from penstock.config.routes import configured_routes
from penstock.config.stages import choose_stages
from penstock.config.unresolved import UnresolvedQueue
from penstock.errors import ConfigError
from penstock.model_handlers import ModelHandler
from penstock.options import Role
from penstock.plugins.registry import Registry
from penstock.serializers import Serializer


@dataclass(frozen=True, slots=True)
class ResolvedQueue:
    """A queue, ready to be opened for one role.

    Attributes:
        name: What engines and functions call it.
        value: The backend's name of it.
        place: Where it is configured ("queues.yml:12"); empty for a configuration made in Python.
        role: What it is opened for.
        connector: The connector's name, or the class's, for messages and metrics.
        connector_class: A consumer's class for an input, a producer's for an output; made as `class(value, options)`.
        options: What the connector's options model made of `config:`; a plain dict where there is no model.
        capabilities: What the connector can do.
        serializer, model_handler: None where that stage is off.
        data_model: What the model handler builds; None without one.
        data_model_is_default: Nobody chose it for this queue, so a function's annotation may replace it.
        batch: The function gets lists; None if neither queue nor profile say so.
        origins: For each key ("connector", "config.port") where its value came from.
    """

    name: str
    value: str
    place: str
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


def registry_for(configuration: Configuration) -> Registry:
    """A registry that keeps to the configuration's plugin settings."""
    plugins = configuration.plugins
    return Registry(allow=plugins.allow, block=plugins.block, allow_import_paths=plugins.allow_import_paths)


def resolve_queue(
    configuration: Configuration,
    name: str,
    role: Role,
    *,
    registry: Registry,
    environment: Mapping[str, str] = os.environ,
) -> ResolvedQueue:
    """Resolve one queue for one role.

    Raises:
        ConfigError: with every problem of this queue, each with file and line.
    """
    return resolve_queues(configuration, [(name, role)], registry=registry, environment=environment)[0]


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
    resolved: list[ResolvedQueue] = []
    problems: dict[str, None] = {}  # A queue that is both input and output has most of its problems twice.
    for name, role in wanted:
        verdict = judge(configuration, name, role, registry=registry, environment=environment)
        problems |= dict.fromkeys(verdict.problems)
        if verdict.queue is not None:
            resolved.append(verdict.queue)
    if problems:
        raise ConfigError(*problems)
    return resolved


def problems_of(
    configuration: Configuration, problems: Sequence[str], wanted: Iterable[tuple[str, Role]]
) -> Sequence[str]:
    """All that is wrong with a configuration and with some queues of it, so that one start shows it all.

    Args:
        configuration: What could be read.
        problems: What could not. A queue that was left out because of them is not missed.
        wanted: The queues, each with the role it is wanted for.
    """
    registry = registry_for(configuration)
    found = dict.fromkeys(problems)
    for name, role in wanted:
        if name in configuration.queues or ("queues", name) not in configuration.places.roots:
            found |= dict.fromkeys(judge(configuration, name, role, registry=registry).problems)
    extras = (*configured_middleware(configuration, registry)[1], *configured_routes(configuration, registry)[1])
    return list(found | dict.fromkeys(extras))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a queue can be opened for a role.

    Attributes:
        queue: None if there are problems.
        problems: Whole sentences.
        possible: False if its connector has no side for this role at all, so that nothing else was judged.
    """

    queue: ResolvedQueue | None
    problems: Sequence[str] = ()
    possible: bool = True


def judge(
    configuration: Configuration,
    name: str,
    role: Role,
    *,
    registry: Registry,
    environment: Mapping[str, str] = os.environ,
) -> Verdict:
    """As `resolve_queue`, but hands back the problems instead of raising them."""
    queue = configuration.queues.get(name)
    if queue is None:
        return Verdict(None, [unknown_queue(name, configuration.queues.keys(), configuration.places.file)])
    unresolved = UnresolvedQueue(configuration, queue, role, registry, environment)
    unresolved.problems += placed(
        configuration.missing_variables.get(name, ()), f"queue {name!r}", configuration.places
    )
    _find_profile(unresolved)
    backend = choose_backend(unresolved)
    options = make_options(unresolved, backend) if backend else None
    stages = choose_stages(unresolved)
    batch = _batch(unresolved)
    unresolved.origins["value"] = unresolved.written("value") if queue.value else "default"
    if unresolved.problems or backend is None:
        return Verdict(None, unresolved.problems, unresolved.possible)
    resolved = ResolvedQueue(
        name=name,
        value=queue.value or name,
        place=unresolved.place(),
        role=role,
        connector=backend.name,
        connector_class=backend.connector_class,
        options=options,
        capabilities=backend.capabilities,
        serializer=stages.serializer,
        model_handler=stages.model_handler,
        data_model=stages.data_model,
        data_model_is_default=stages.data_model_is_default,
        batch=batch,
        origins=unresolved.origins,
    )
    return Verdict(resolved)


def _find_profile(unresolved: UnresolvedQueue) -> None:
    name = unresolved.queue.profile
    if name is not None:
        unresolved.origins["profile"] = unresolved.written("profile")
        unresolved.profile = unresolved.attempt("profile", lambda: unresolved.registry.profile(name))


def _batch(unresolved: UnresolvedQueue) -> bool | None:
    queue, profile = unresolved.queue, unresolved.profile
    if queue.batch is not None:
        unresolved.origins["batch"] = unresolved.written("batch")
        return queue.batch
    if profile is not None and profile.batch:
        unresolved.origins["batch"] = unresolved.from_profile()
        return True
    unresolved.origins["batch"] = "default"
    return None
