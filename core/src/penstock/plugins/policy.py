"""Which plugins may be loaded: the lists apply before anything of a plugin is imported."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from penstock.plugins.discovery import Entry
from penstock.plugins.hints import CORE, nearest, normalised

BLOCK_VARIABLE = "PENSTOCK_PLUGINS_BLOCK"
ALLOW_VARIABLE = "PENSTOCK_PLUGINS_ALLOW"


@dataclass(frozen=True, slots=True)
class _List:
    where: str
    names: frozenset[str]

    def holds(self, entry: Entry) -> bool:
        return not self.names.isdisjoint((normalised(entry.distribution), normalised(entry.name)))


class Policy:
    """Block and allow lists, from arguments and from the environment. A plugin must pass all of them.

    Args:
        allow: Distributions or entry points that may be loaded beside the core's own; None allows all.
        block: Distributions or entry points that must not be loaded.
        environment: The variables; `PENSTOCK_PLUGINS_ALLOW` and `PENSTOCK_PLUGINS_BLOCK` are comma-separated lists, and
            count as not set when they are empty.
    """

    def __init__(self, allow: Collection[str] | None, block: Collection[str], environment: Mapping[str, str]) -> None:
        self._allow = [_List("plugins.allow", _names(allow))] if allow is not None else []
        self._block = [_List("plugins.block", _names(block))]
        if environment.get(ALLOW_VARIABLE):
            self._allow.append(_List(ALLOW_VARIABLE, _names(environment[ALLOW_VARIABLE].split(","))))
        self._block.append(_List(BLOCK_VARIABLE, _names(environment.get(BLOCK_VARIABLE, "").split(","))))

    def block_reason(self, entry: Entry) -> str:
        """Why a plugin must not be loaded, with what to change; "" if it may be."""
        for blocked in self._block:
            if blocked.holds(entry):
                return f"{entry} is blocked by {blocked.where}; take it off that list to use it"
        for allowed in self._allow:
            if not allowed.holds(entry) and normalised(entry.distribution) != CORE:
                return f"{entry} is not allowed by {allowed.where}; add {entry.distribution!r} to that list to use it"
        return ""

    def unknown_blocks(self, installed: Collection[Entry]) -> Iterator[str]:
        """A sentence for each blocked name that no plugin has: a mistyped name blocks nothing."""
        known = {name for entry in installed for name in (normalised(entry.distribution), normalised(entry.name))}
        for blocked in self._block:
            for name in sorted(blocked.names - known):
                meant = nearest(name, known)
                hint = f"; did you mean {meant!r}?" if meant else ""
                yield f"{blocked.where} names {name!r}, which no installed plugin is called, so it blocks nothing{hint}"


def _names(names: Collection[str]) -> frozenset[str]:
    return frozenset(normalised(name.strip()) for name in names if name.strip())
