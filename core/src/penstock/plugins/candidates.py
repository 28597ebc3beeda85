"""Finds the plugins that offer a name, and loads as few plugins as needed for it, each at most once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from threading import RLock

from penstock.plugins import discovery, hints, loading
from penstock.plugins.discovery import Entry
from penstock.plugins.loading import Plugin
from penstock.plugins.policy import Policy
from penstock.specs import Spec

log = logging.getLogger("penstock")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A spec, and the plugin that offers it."""

    plugin: Plugin
    spec: Spec

    @property
    def qualified_name(self) -> str:
        """`distribution:name`, which selects this candidate only."""
        return f"{self.plugin.entry.distribution}:{self.spec.name}"


class Candidates:
    """Everything that the plugins which the policy allows offer.

    A name is looked up first in the plugins whose entry point has that name (for "acme.fast" also "acme", for a profile
    "acme-fast" also "acme"): the metadata say so, and no other plugin's code runs. If none of them offers it, every
    plugin is asked. So the answer never depends on which plugins were loaded before.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._loaded: dict[Entry, Plugin] = {}
        # Engines may start in several threads; without the lock a plugin that fails would be imported in each.
        self._lock = RLock()

    def plugins(self) -> Sequence[Plugin]:
        """All plugins, loaded."""
        return [self.plugin(entry) for entry in discovery.scan()]

    def plugin(self, entry: Entry) -> Plugin:
        """One plugin, loaded unless the policy blocks it."""
        with self._lock:
            if not self._loaded:
                for text in self._policy.unknown_blocks(discovery.scan()):
                    _warn(text)
            if entry not in self._loaded:
                blocked = self._policy.block_reason(entry)
                self._loaded[entry] = Plugin(entry, "blocked", problems=(blocked,)) if blocked else loading.load(entry)
            return self._loaded[entry]

    def owner(self, spec: Spec) -> Entry | None:
        """The plugin that offered this very spec object; None for a spec that was made elsewhere."""
        with self._lock:
            found = (plugin.entry for plugin in self._loaded.values() if any(each is spec for each in plugin.specs))
            return next(found, None)

    def named(self, kind: str, name: str, distribution: str | None = None) -> Sequence[Plugin]:
        """The plugins whose entry point has the name, loaded."""
        stems = hints.stems(kind, name)
        return [self.plugin(entry) for entry in entries(distribution) if entry.name in stems]

    def of(self, kind: str, name: str, distribution: str | None = None) -> Sequence[Candidate]:
        """The candidates for a name: none, one, or several in conflict.

        Args:
            kind: "connector", "serializer", "model_handler", "profile", "command", "middleware" or "route".
            name: The bare name.
            distribution: Ask only the plugins of this one.
        """
        named = self.named(kind, name, distribution)
        found = _candidates(named, kind, name)
        # A broken plugin keeps its name: another plugin's offer must not replace it without notice.
        if found or any(plugin.entry.name == name and plugin.state in ("broken", "incompatible") for plugin in named):
            return found
        return _candidates([self.plugin(entry) for entry in entries(distribution)], kind, name)


@cache
def _warn(text: str) -> None:
    # Once a process, however many registries it makes.
    log.warning("%s", text)


def entries(distribution: str | None = None) -> Sequence[Entry]:
    """The entry points of one distribution or of all; imports nothing."""
    found = discovery.scan()
    if distribution is None:
        return found
    return [entry for entry in found if hints.normalised(entry.distribution) == hints.normalised(distribution)]


def _candidates(plugins: Iterable[Plugin], kind: str, name: str) -> list[Candidate]:
    return [
        Candidate(plugin, spec) for plugin in plugins for spec in plugin.specs if (spec.kind, spec.name) == (kind, name)
    ]
