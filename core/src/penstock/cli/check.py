"""`penstock check`: checks a configuration without a broker, and prints it as it is understood."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.config.files import read
from penstock.config.middleware import configured_middleware
from penstock.config.model import Configuration
from penstock.config.names import unknown_queue
from penstock.config.problems import Problem
from penstock.config.report import queue_rows, section_rows, table
from penstock.config.resolution import Resolution
from penstock.config.resolve import registry_for, validate
from penstock.config.routes import configured_routes
from penstock.errors import ConfigError
from penstock.observability.printable import lines, one_line
from penstock.options import Role
from penstock.plugins.registry import Registry
from penstock.queues.resolved_queue import ResolvedQueue

ROLES: tuple[Role, ...] = ("input", "output")


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `penstock check`."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML or TOML file")
    parser.add_argument("--role", choices=ROLES, help="check every queue for this role only")
    parser.add_argument(
        "--input", action="append", default=[], metavar="QUEUE", help="this queue must work as an input (repeatable)"
    )
    parser.add_argument(
        "--output", action="append", default=[], metavar="QUEUE", help="this queue must work as an output (repeatable)"
    )
    parser.epilog = (
        "A configuration does not say which queue is an input. So a queue is checked for both roles; a problem that "
        "affects one of them only is a note, unless --role, --input or --output says that this role is wanted."
    )


def run(arguments: Namespace) -> int:
    """Print the configuration; 0 if it works.

    Raises:
        ConfigError: with every problem, which the command line prints on stderr before it exits with 2.
    """
    configuration, found = read(arguments.config)
    problems = list(found)
    if configuration.plugins.allow_import_paths and os.getcwd() not in sys.path:
        # As `python -m` does: a configuration names the classes of the program beside it.
        sys.path.insert(0, os.getcwd())
    wanted: dict[str, set[Role]] = {}
    for role in ROLES:
        for name in getattr(arguments, role):
            wanted.setdefault(name, set()).add(role)
    if not problems:
        problems += [
            Problem(("queues", name), unknown_queue(name, configuration.queues.keys(), arguments.config))
            for name in wanted
            if name not in configuration.queues
        ]
    registry = registry_for(configuration)
    findings = {}
    for name in configuration.queues:
        roles = wanted.get(name) or ({arguments.role} if arguments.role else set())
        findings[name] = _find(configuration, name, roles, registry)
        problems += findings[name].problems
    problems += configured_middleware(configuration, registry)[1] + configured_routes(configuration, registry)[1]
    if problems:
        raise ConfigError(*problems)
    _print(arguments.config, configuration, findings)
    return 0


@dataclass(slots=True)
class _Finding:
    """What there is to say about one queue."""

    views: list[ResolvedQueue] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


def _find(configuration: Configuration, name: str, wanted: set[Role], registry: Registry) -> _Finding:
    queue = configuration.queues[name]
    roles = [role for role in ROLES if not wanted or role in wanted]
    resolutions = [validate(configuration, name, role, registry=registry) for role in roles]
    finding = _Finding([each.resolved for each in resolutions if each.resolved is not None])
    for resolution in resolutions:
        # The user who names a class for a side wants that side to work.
        own_class = getattr(queue, "consumer" if resolution.role == "input" else "producer")
        required = resolution.role in wanted or own_class is not None
        others = [other for other in resolutions if other is not resolution]
        for problem in resolution.problems:
            if not required and _concerns_this_role_only(problem, resolution, others):
                finding.notes.append(problem)
            elif problem not in finding.problems:
                finding.problems.append(problem)
    return finding


def _concerns_this_role_only(problem: Problem, resolution: Resolution, others: Sequence[Resolution]) -> bool:
    """Whether the queue could serve in another role although it has this problem in this one."""
    if not resolution.possible:
        return any(other.possible for other in others)
    return any(set(other.problems) <= set(resolution.problems) - {problem} for other in others)


def _print(config: str, configuration: Configuration, findings: Mapping[str, _Finding]) -> None:
    count = len(findings)
    print(f"{config}: {count} queue{'' if count == 1 else 's'}, no problems")
    for name, finding in findings.items():
        print(f"\nqueue {one_line(name)}")
        print(lines(table(queue_rows(configuration.queues[name], finding.views))))
        for note in finding.notes:
            role = "an input" if note.role == "input" else "an output"
            print(f"  note: not usable as {role}: {lines(str(note))}")
    for section in ("engine", "worker", "plugins"):
        print(f"\n{section}")
        print(lines(table(section_rows(configuration, section))))
