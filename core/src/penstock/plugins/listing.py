"""Lists everything that is installed, and what is wrong with it, for `penstock plugins`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from penstock.plugins import explain, hints
from penstock.plugins.candidates import Candidate, Candidates
from penstock.plugins.loading import Plugin

State = Literal["ok", "broken", "incompatible", "blocked", "duplicate"]


@dataclass(frozen=True, slots=True)
class ListedName:
    """One line of `penstock plugins`.

    Attributes:
        kind: "connector", "serializer", "model_handler", "profile", "command", "middleware" or "route"; "plugin"
            for a plugin that has a problem, or offers nothing.
        name: The name that a configuration uses; for a plugin, the name of its entry point.
        distribution, version: The distribution that installed it.
        origin: "built-in", "first-party" or "third-party".
        state: "ok", or why a configuration cannot use it by this name.
        problem: What is wrong and what to do, one line a problem; "" if nothing is.
        summary: The spec's own line.
    """

    kind: str
    name: str
    distribution: str
    version: str
    origin: hints.Origin
    state: State
    problem: str
    summary: str


def listing(candidates: Candidates) -> Iterator[tuple[ListedName, Candidate | None]]:
    """Every name, with the candidate behind it; a plugin without specs has none."""
    for plugin in candidates.plugins():
        if plugin.problems or not plugin.specs:
            yield _listed(plugin, "plugin", plugin.entry.name, plugin.state, "\n".join(plugin.problems), ""), None
        for spec in plugin.specs:
            found = candidates.of(spec.kind, spec.name)
            this = Candidate(plugin, spec)
            state: State = "ok" if found == [this] else "duplicate"
            problem = "" if state == "ok" else explain.conflict(found, this)
            yield _listed(plugin, spec.kind, spec.name, state, problem, spec.summary), this


def _listed(plugin: Plugin, kind: str, name: str, state: State, problem: str, summary: str) -> ListedName:
    entry = plugin.entry
    return ListedName(
        kind, name, entry.distribution, entry.version, hints.origin(entry.distribution), state, problem, summary
    )
