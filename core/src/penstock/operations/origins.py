"""Finds the queue of a configuration that a dead letter came from."""

from __future__ import annotations

from penstock.config.model import Configuration
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError
from penstock.operations.letters import Letter
from penstock.queues.resolved_queue import ResolvedQueue


class Origins:
    """Finds where letters go.

    Args:
        configuration: What says which queues there are.
        name: The dead-letter queue, which is the origin of no letter.
        to: The queue of the configuration that all letters go to; "": each goes to the queue that it came from.

    Raises:
        ConfigError: `to` is not a queue that can be written.
    """

    def __init__(self, configuration: Configuration, name: str, to: str = "") -> None:
        self._configuration = configuration
        self._registry = registry_for(configuration)
        self._name = name
        self._to = self._resolved(to) if to else None
        self._found: dict[str, ResolvedQueue | str] = {}

    def find(self, letter: Letter) -> ResolvedQueue | str:
        """The queue that a letter goes to, resolved as an output; else why there is none, and what to do."""
        if self._to is not None:
            return self._to
        value = letter.details.queue
        if not value:
            return "the letter does not say where it came from (another program wrote it); name a queue with --to"
        if value not in self._found:
            self._found[value] = self._find(value)
        return self._found[value]

    def _find(self, value: str) -> ResolvedQueue | str:
        names = [
            name
            for name, queue in self._configuration.queues.items()
            if queue.backend_name == value and name != self._name
        ]
        if not names:
            file = self._configuration.locations.file or "the configuration"
            return f"no queue of {file} is {value!r} at its backend; add it there, or name another queue with --to"
        try:
            queues = [self._resolved(name) for name in names]
        except ConfigError as error:
            return f"the queue {names[0]!r} cannot be written: {error}; name another queue with --to"
        first, *others = queues
        # Two names of one queue differ in their codecs at most, and bodies are sent as they are.
        if any((each.connector, each.options) != (first.connector, first.options) for each in others):
            return f"{' and '.join(map(repr, names))} are both {value!r} at their backends; name one of them with --to"
        return first

    def _resolved(self, name: str) -> ResolvedQueue:
        return resolve_queue(self._configuration, name, "output", registry=self._registry)
