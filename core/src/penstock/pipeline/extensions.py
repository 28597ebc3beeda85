"""What a program adds to its engine, beside what the configuration names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.errors import ConfigError
from penstock.pipeline.resources import Resources

if TYPE_CHECKING:
    from penstock.config.model import Configuration
    from penstock.events import Observer
    from penstock.middleware import AnyMiddleware, Middleware, Wrapper
    from penstock.routes import Route


@dataclass(frozen=True, slots=True)
class Extensions:
    """The additions to one engine.

    Attributes:
        middleware: What its constructor was given.
        routes, observers, resources: What its decorators were given.
    """

    middleware: tuple[AnyMiddleware, ...]
    routes: list[Route] = field(default_factory=list)
    observers: list[Observer] = field(default_factory=list)
    resources: Resources = field(default_factory=Resources)

    def all_middleware(self, configuration: Configuration, app: str) -> list[Middleware | Wrapper]:
        """The middleware that the configuration names, then that of the engine.

        Raises:
            ConfigError: a name is unknown, or an option is wrong.
        """
        from penstock.config.middleware import configured_middleware, make_middleware
        from penstock.config.resolve import registry_for

        registry = registry_for(configuration)
        configured, problems = configured_middleware(configuration, registry)
        own, own_problems = make_middleware(self.middleware, registry, f"engine {app!r}")
        if problems or own_problems:
            raise ConfigError(*problems, *own_problems)
        return [*configured, *own]

    def all_routes(self, configuration: Configuration) -> list[Route]:
        """The routes of the engine, then those that the configuration names.

        Raises:
            ConfigError: a name is unknown.
        """
        from penstock.config.resolve import registry_for
        from penstock.config.routes import configured_routes

        configured, problems = configured_routes(configuration, registry_for(configuration))
        if problems:
            raise ConfigError(*problems)
        return [*self.routes, *configured]
