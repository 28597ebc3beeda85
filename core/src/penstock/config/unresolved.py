"""A queue on its way from its settings to what the engine opens: the facts so far, and every problem met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from penstock.config.faults import in_brackets
from penstock.config.model import Configuration, QueueConfig
from penstock.errors import ConfigError, PluginError
from penstock.options import Role
from penstock.plugins.registry import Registry
from penstock.specs import Profile

_T = TypeVar("_T")


@dataclass(slots=True)
class UnresolvedQueue:
    """What the rooms of `resolve` share about one queue.

    Attributes:
        configuration, queue, role, registry, environment: What is resolved, and against what.
        profile: The queue's profile, once found.
        problems: Whole sentences.
        origins: For each key, "config.port" included, where its value came from.
        possible: False once it is clear that the queue's connector has no side for this role.
    """

    configuration: Configuration
    queue: QueueConfig
    role: Role
    registry: Registry
    environment: Mapping[str, str]
    profile: Profile | None = None
    problems: list[str] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    possible: bool = True

    @property
    def connector_key(self) -> str:
        """The key that named the connector, for problems with it."""
        return "profile" if self.queue.connector is None else "connector"

    def place(self, *keys: str | int) -> str:
        """File and line of a key of this queue; empty for a configuration made in Python."""
        return str(self.configuration.places.of(("queues", self.queue.name, *keys)))

    def written(self, *keys: str | int) -> str:
        """The origin of a value that the configuration itself gives."""
        return self.configuration.origin(("queues", self.queue.name, *keys))

    def from_profile(self) -> str:
        """The origin of a value that the profile gives."""
        return f"profile {self.profile.name}" if self.profile else "default"

    def problem(self, keys: tuple[str | int, ...], text: str, place: str | None = None) -> None:
        """Note a problem with a key of this queue.

        Args:
            keys: The way to it inside the queue.
            text: The sentence, which names the key.
            place: Where the value came from, if not from the configuration.
        """
        where = self.configuration.places.of(("queues", self.queue.name, *keys)).exact if place is None else place
        self.problems.append(f"queue {self.queue.name!r}{in_brackets(where)}: {text}")

    def attempt(self, key: str, action: Callable[[], _T]) -> _T | None:
        """What `action` returns; None, and a problem, if a plugin or a path does not deliver."""
        if self.is_missing(key):
            return None
        try:
            return action()
        except (PluginError, ConfigError) as error:
            self.problem((key,), str(error))
            return None

    def is_missing(self, *keys: str | int) -> bool:
        """Whether a part of the value needs an environment variable that is not set: then it has its problem."""
        path = ("queues", self.queue.name, *keys)
        missing = self.configuration.missing_variables.get(self.queue.name, ())
        return any(fault.path[: len(path)] == path for fault in missing)

    def imported(self, key: str, value: Any) -> Any:
        """What a dotted path leads to; anything that is no text stands for itself.

        Raises:
            PluginError: it does not import, or dotted paths are turned off.
        """
        return self.registry.import_path(value, wanted_by=repr(key)) if isinstance(value, str) else value

    def target(self, key: str, value: Any, find: Callable[[str], Any]) -> Any:
        """What a name or a dotted path leads to; anything that is no text stands for itself.

        Args:
            key: The queue's key.
            value: A name, a dotted path or the thing itself.
            find: Looks up a name.

        Raises:
            PluginError: it is not there.
        """
        if isinstance(value, str) and not self.registry.is_import_path(value):
            return find(value)
        return self.imported(key, value)
