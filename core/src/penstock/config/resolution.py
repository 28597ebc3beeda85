"""The state of resolving one queue: what is known so far, and every problem found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from penstock.config.model import Configuration, QueueConfig
from penstock.config.problems import Problem
from penstock.errors import ConfigError, PluginError
from penstock.options import Role
from penstock.plugins.registry import Registry
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.specs import Profile

_T = TypeVar("_T")


@dataclass(slots=True)
class Resolution:
    """Whether one queue can be opened for one role; the steps of `validate` fill it.

    Attributes:
        configuration, queue, role, registry, environment: What is resolved, and against what.
        profile: The queue's profile, once found.
        problems: Everything that is wrong.
        origins: For each key, "config.port" included, where its value came from.
        outside: The same, for the options that came from a profile or the environment only.
        browsing: The queue is opened only to be browsed, so what the connector's `browse_config` has need not be given.
        possible: False if the queue's connector does not support this role, so that nothing else was checked.
        resolved: The queue, ready to be opened; None if there are problems.
    """

    configuration: Configuration
    queue: QueueConfig
    role: Role
    registry: Registry
    environment: Mapping[str, str]
    profile: Profile | None = None
    problems: list[Problem] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    browsing: bool = False
    possible: bool = True
    resolved: ResolvedQueue | None = None

    @property
    def connector_key(self) -> str:
        """The key that named the connector, for problems with it."""
        return "profile" if self.queue.connector is None else "connector"

    def location(self, *keys: str | int) -> str:
        """File and line of a key of this queue; empty for a configuration made in Python."""
        return str(self.configuration.locations.of(("queues", self.queue.name, *keys)))

    def written(self, *keys: str | int) -> str:
        """The origin of a value that the configuration itself gives."""
        return self.configuration.origin(("queues", self.queue.name, *keys))

    def from_profile(self) -> str:
        """The origin of a value that the profile gives."""
        return f"profile {self.profile.name}" if self.profile else "default"

    def problem(self, keys: tuple[str | int, ...], text: str) -> None:
        """Note a problem with a key of this queue.

        Args:
            keys: The way to it inside the queue.
            text: The sentence, which names the key.
        """
        path = ("queues", self.queue.name, *keys)
        outside = self.outside.get(str(keys[1])) if len(keys) > 1 and keys[0] == "config" else None
        origin = outside or self.configuration.locations.of(path)
        self.problems.append(Problem(path, text, f"queue {self.queue.name!r}", origin, self.role))

    def attempt(self, key: str, action: Callable[[], _T]) -> _T | None:
        """What `action` returns; None, and a problem, if it raises because of a plugin or a path."""
        if self.is_missing(key):
            return None
        try:
            return action()
        except (PluginError, ConfigError) as error:
            self.problem((key,), str(error))
            return None

    def is_missing(self, *keys: str | int) -> bool:
        """Whether a part of the value needs an environment variable that is not set; that is already a problem."""
        path = ("queues", self.queue.name, *keys)
        missing = self.configuration.missing_variables.get(self.queue.name, ())
        return any(problem.path[: len(path)] == path for problem in missing)

    def imported(self, key: str, value: Any) -> Any:
        """The object at a dotted path; a value that is not text is the object itself.

        Raises:
            PluginError: it does not import, or dotted paths are turned off.
        """
        return self.registry.import_path(value, wanted_by=repr(key)) if isinstance(value, str) else value

    def target(self, key: str, value: Any, find: Callable[[str], Any]) -> Any:
        """The object for a name or a dotted path; a value that is not text is the object itself.

        Args:
            key: The queue's key.
            value: A name, a dotted path or the object.
            find: Looks up a name.

        Raises:
            PluginError: it does not exist.
        """
        if isinstance(value, str) and not self.registry.is_import_path(value):
            return find(value)
        return self.imported(key, value)


def stands_for(target: Any) -> str | None:
    """The installed name that a class stands for by its own attribute `stands_for`; None, as a rule.

    So a distribution can give an old dotted name to what a plugin offers, without importing the plugin.
    """
    return vars(target).get("stands_for") if isinstance(target, type) else None
