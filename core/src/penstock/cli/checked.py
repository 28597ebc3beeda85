"""Judges configurations and programs for `penstock check`; a program by the same steps as its start."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from penstock.cli.apps import find_engines
from penstock.config.files import read
from penstock.config.middleware import configured_middleware
from penstock.config.model import Configuration
from penstock.config.names import unknown_queue
from penstock.config.problems import Problem
from penstock.config.resolution import Resolution
from penstock.config.resolve import problems_of, registry_for, validate
from penstock.config.routes import configured_routes
from penstock.engine import Engine
from penstock.errors import ConfigError
from penstock.options import Role
from penstock.plugins.registry import Registry
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.worker.worker import Worker

ROLES: tuple[Role, ...] = ("input", "output")


@dataclass(slots=True)
class CheckedQueue:
    """What there is to say about one queue.

    Attributes:
        configuration: Where it is configured.
        views: The queue for each role in which it can be used.
        uses: What each engine uses it for ("input of till"); empty for a configuration alone.
        problems: Why it cannot be used.
        notes: Why it cannot be used in one role that it need not have.
        asked: The roles in which its server is asked about it.
    """

    configuration: Configuration
    views: list[ResolvedQueue] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    asked: set[Role] = field(default_factory=set)

    def to_ask(self) -> list[ResolvedQueue]:
        """The views for which the server is asked; of a queue without a role one."""
        return [view for view in self.views if view.role in self.asked] or self.views[:1]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked together.

    Attributes:
        name: What was typed.
        configuration: The configuration; of programs the first engine's, whose worker it is.
        queues: By name.
        engines: Those of programs.
    """

    name: str
    configuration: Configuration
    queues: Mapping[str, CheckedQueue]
    engines: Sequence[Engine] = ()


def check_configuration(path: str, wanted: Mapping[str, set[Role]], role: Role | None) -> Checked:
    """Judge a configuration file.

    Args:
        path: The file.
        wanted: Roles that queues must have.
        role: The role that all others must have.

    Raises:
        ConfigError: with every problem.
    """
    configuration, found = read(path)
    problems = list(found)
    if configuration.plugins.allow_import_paths and os.getcwd() not in sys.path:
        # As `python -m` does: a configuration names the classes of the program beside it.
        sys.path.insert(0, os.getcwd())
    if not problems:
        problems += [
            Problem(("queues", name), unknown_queue(name, configuration.queues.keys(), path))
            for name in wanted
            if name not in configuration.queues
        ]
    registry = registry_for(configuration)
    queues = {}
    for name in configuration.queues:
        roles = wanted.get(name) or ({role} if role else set())
        queues[name] = _judged(configuration, name, roles, registry)
        problems += queues[name].problems
    problems += configured_middleware(configuration, registry)[1] + configured_routes(configuration, registry)[1]
    if problems:
        raise ConfigError(*problems)
    return Checked(path, configuration, queues)


def _judged(configuration: Configuration, name: str, wanted: set[Role], registry: Registry) -> CheckedQueue:
    queue = configuration.queues[name]
    roles = [role for role in ROLES if not wanted or role in wanted]
    resolutions = [validate(configuration, name, role, registry=registry) for role in roles]
    checked = CheckedQueue(configuration, asked=wanted)
    checked.views = [each.resolved for each in resolutions if each.resolved is not None]
    for resolution in resolutions:
        # The user who names a class for a side wants that side to work.
        own_class = getattr(queue, "consumer" if resolution.role == "input" else "producer")
        required = resolution.role in wanted or own_class is not None
        others = [other for other in resolutions if other is not resolution]
        for problem in resolution.problems:
            if not required and _concerns_this_role_only(problem, resolution, others):
                checked.notes.append(problem)
            elif problem not in checked.problems:
                checked.problems.append(problem)
    return checked


def _concerns_this_role_only(problem: Problem, resolution: Resolution, others: Sequence[Resolution]) -> bool:
    """Whether the queue could serve in another role although it has this problem in this one."""
    if not resolution.possible:
        return any(other.possible for other in others)
    return any(set(other.problems) <= set(resolution.problems) - {problem} for other in others)


def check_programs(names: Sequence[str], config: str | None) -> Checked:
    """Judge programs as one worker would run them.

    Args:
        names: As `penstock run` takes them.
        config: The configuration that replaces their own.

    Raises:
        ConfigError: with every problem of all configurations; or the first thing that keeps an engine from starting.
        PluginError, FunctionError: an engine cannot start.
    """
    engines = find_engines(names)
    if config is None:
        problems = [problem for engine in engines for problem in engine.problems()]
    else:
        configuration, unread = read(config)
        problems = list(problems_of(configuration, unread, [each for engine in engines for each in engine.wanted]))
        for engine in engines:
            engine.configure(configuration)
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    with _silent("penstock.options"):  # its warnings are notes of the report
        asyncio.run(Worker(engines).check())
        return Checked(", ".join(names), engines[0].configuration, _used_queues(engines), engines)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Let a logger say nothing inside this block."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _used_queues(engines: Iterable[Engine]) -> dict[str, CheckedQueue]:
    queues: dict[str, CheckedQueue] = {}
    for engine in engines:
        for (name, role), resolved in engine.resolve().items():
            checked = queues.setdefault(name, CheckedQueue(engine.configuration))
            if role not in checked.asked:
                checked.asked.add(role)
                checked.views.append(resolved)
            use = "dead-letter queue" if name == engine.dead_letter_queue and role == "output" else role
            checked.uses.append(f"{use} of {engine.app_name}")
    return queues
