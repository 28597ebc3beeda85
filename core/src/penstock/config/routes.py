"""The routes that a configuration names, into the routes of a worker's port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.config.faults import Fault, placed
from penstock.errors import ConfigError, PluginError
from penstock.routes import Route

if TYPE_CHECKING:
    from penstock.config.model import Configuration
    from penstock.plugins.registry import Registry


def configured_routes(configuration: Configuration, registry: Registry) -> tuple[list[Route], list[str]]:
    """What `worker.routes` names, and the problems with it, as whole sentences with their places."""
    routes: list[Route] = []
    faults: list[Fault] = []
    for index, name in enumerate(configuration.worker.routes):
        try:
            spec = registry.route(name)
            routes.append(Route(spec.path, registry.load(spec, spec.target)))
        except (PluginError, ConfigError) as error:
            faults.append(Fault(("worker", "routes", index), str(error)))
    return routes, placed(faults, "worker", configuration.places)
