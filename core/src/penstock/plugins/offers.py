"""Everything that is installed and what is wrong with it, for `penstock plugins`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from penstock.plugins import explain, hints
from penstock.plugins.claims import Claim, Claims
from penstock.plugins.loading import Plugin

State = Literal["ok", "broken", "incompatible", "blocked", "duplicate"]


@dataclass(frozen=True, slots=True)
class Offer:
    """One line of `penstock plugins`.

    Attributes:
        kind: "connector", "serializer", "model_handler", "profile", "command", "middleware" or "route"; "plugin"
            for a plugin that has a problem, or offers nothing.
        name: What a config writes; for a plugin, the name of its entry point.
        distribution, version: Who brings it.
        origin: Whose that distribution is.
        state: "ok", or why a config cannot use it by this name.
        problem: What is wrong and what to do, a line a fault; "" if nothing is.
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


def offers(claims: Claims) -> Iterator[tuple[Offer, Claim | None]]:
    """Every offer, with the claim behind it; plugins without specs have none."""
    for plugin in claims.plugins():
        if plugin.problems or not plugin.specs:
            yield _offer(plugin, "plugin", plugin.entry.name, plugin.state, "\n".join(plugin.problems), ""), None
        for spec in plugin.specs:
            rivals = claims.of(spec.kind, spec.name)
            mine = Claim(plugin, spec)
            state: State = "ok" if rivals == [mine] else "duplicate"
            problem = "" if state == "ok" else explain.rivalry(rivals, mine)
            yield _offer(plugin, spec.kind, spec.name, state, problem, spec.summary), mine


def _offer(plugin: Plugin, kind: str, name: str, state: State, problem: str, summary: str) -> Offer:
    entry = plugin.entry
    return Offer(
        kind, name, entry.distribution, entry.version, hints.origin(entry.distribution), state, problem, summary
    )
