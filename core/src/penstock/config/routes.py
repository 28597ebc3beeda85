"""Makes the routes that a configuration names for a worker's port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.config.problems import Problem, located
from penstock.errors import ConfigError, PluginError
from penstock.routes import Route

if TYPE_CHECKING:
    from penstock.config.model import Configuration
    from penstock.plugins.registry import Registry


def configured_routes(configuration: Configuration, registry: Registry) -> tuple[list[Route], list[Problem]]:
    """What `worker.routes` names, and the problems with it."""
    routes: list[Route] = []
    problems: list[Problem] = []
    for index, name in enumerate(configuration.worker.routes):
        try:
            spec = registry.route(name)
            routes.append(Route(spec.path, registry.load(spec, spec.target)))
        except (PluginError, ConfigError) as error:
            problems.append(Problem(("worker", "routes", index), str(error)))
    return routes, located(problems, "worker", configuration.locations)
