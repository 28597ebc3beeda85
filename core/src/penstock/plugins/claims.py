"""Who offers a name: loads the plugins that may, as few as will do, each at most once."""

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
class Claim:
    """A plugin offers a spec."""

    plugin: Plugin
    spec: Spec

    @property
    def qualified_name(self) -> str:
        """The name that means this claim and no other."""
        return f"{self.plugin.entry.distribution}:{self.spec.name}"


class Claims:
    """What all plugins that the policy lets through offer.

    A name is a matter of the plugins whose entry point bears it (for "acme.fast" also "acme", for a profile "acme-fast"
    also "acme"): that much the metadata say, and nobody else's code runs. If none of them offers it, every plugin is
    asked. So the answer never depends on what was loaded before.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._loaded: dict[Entry, Plugin] = {}
        # Engines may be wired in several threads; a plugin that fails would be imported, and fail, in each.
        self._lock = RLock()

    def plugins(self) -> Sequence[Plugin]:
        """All plugins, loaded."""
        return [self.plugin(entry) for entry in discovery.scan()]

    def plugin(self, entry: Entry) -> Plugin:
        """One plugin, loaded unless the policy refuses it."""
        with self._lock:
            if not self._loaded:
                for text in self._policy.idle(discovery.scan()):
                    _warn(text)
            if entry not in self._loaded:
                refusal = self._policy.refusal(entry)
                self._loaded[entry] = Plugin(entry, "blocked", problems=(refusal,)) if refusal else loading.load(entry)
            return self._loaded[entry]

    def holder(self, spec: Spec) -> Entry | None:
        """The plugin that a spec, this very object, came from; None for one that was made elsewhere."""
        with self._lock:
            found = (plugin.entry for plugin in self._loaded.values() if any(each is spec for each in plugin.specs))
            return next(found, None)

    def named(self, kind: str, name: str, distribution: str | None = None) -> Sequence[Plugin]:
        """The plugins whose entry point bears the name, loaded."""
        stems = hints.stems(kind, name)
        return [self.plugin(entry) for entry in entries(distribution) if entry.name in stems]

    def of(self, kind: str, name: str, distribution: str | None = None) -> Sequence[Claim]:
        """Every claim to a name that counts: none, one, or rivals.

        Args:
            kind: "connector", "serializer", "model_handler", "profile", "command", "middleware" or "route".
            name: The bare name.
            distribution: Ask only the plugins of this one.
        """
        named = self.named(kind, name, distribution)
        found = _claims(named, kind, name)
        # A broken plugin keeps its name: another one's offer must not slip into its place.
        if found or any(plugin.entry.name == name and plugin.state in ("broken", "incompatible") for plugin in named):
            return found
        return _claims([self.plugin(entry) for entry in entries(distribution)], kind, name)


@cache
def _warn(text: str) -> None:
    # Once a process, however many registries it makes.
    log.warning("%s", text)


def entries(distribution: str | None = None) -> Sequence[Entry]:
    """What is installed, of one distribution or of all; nothing is imported."""
    found = discovery.scan()
    if distribution is None:
        return found
    return [entry for entry in found if hints.normalised(entry.distribution) == hints.normalised(distribution)]


def _claims(plugins: Iterable[Plugin], kind: str, name: str) -> list[Claim]:
    return [
        Claim(plugin, spec) for plugin in plugins for spec in plugin.specs if (spec.kind, spec.name) == (kind, name)
    ]
