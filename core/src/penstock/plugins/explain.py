"""The sentences for a name that does not lead to exactly one usable plugin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.plugins import hints
from penstock.plugins.candidates import Candidate, Candidates, entries
from penstock.plugins.install_commands import install
from penstock.plugins.loading import Plugin

_SHOWN = 3  # failed plugins that an error lists
KINDS = ("connector", "serializer", "model_handler", "profile", "command", "middleware", "route")


def words(kind: str) -> str:
    """A kind as it reads in a sentence."""
    return kind.replace("_", " ")


def failure(candidates: Candidates, kind: str, name: str, distribution: str | None) -> Plugin | None:
    """The plugin that should offer a name but is broken, incompatible or blocked; the name is otherwise unknown."""
    extra = hints.extra_for(kind, name)
    stems = (*hints.stems(kind, name), *([extra] if extra else ()))
    failed = [
        candidates.plugin(entry)
        for stem in stems
        for entry in entries(distribution)
        if entry.name == stem and candidates.plugin(entry).state != "ok"
    ]
    if not failed and distribution is not None:
        failed = [candidates.plugin(entry) for entry in entries(distribution) if candidates.plugin(entry).state != "ok"]
    return failed[0] if failed else None


def unknown(candidates: Candidates, kind: str, name: str, distribution: str | None) -> str:
    """Why a name is unknown, and the name or the command that was probably meant."""
    if distribution is None:
        text = f"{words(kind)} {name!r}: nothing that is installed offers one of this name"
    elif entries(distribution):
        text = f"{words(kind)} '{distribution}:{name}': {distribution} offers none of this name"
    else:
        return _unknown_distribution(candidates, kind, name, distribution)
    return "; ".join([text, *_advice(candidates, kind, name, distribution)])


def _unknown_distribution(candidates: Candidates, kind: str, name: str, distribution: str) -> str:
    text = f"{words(kind)} '{distribution}:{name}': no distribution {distribution!r} with a plugin is installed"
    extra = hints.extra_of(distribution)
    if extra is not None:
        return f"{text}; {install(extra)}"
    others = candidates.of(kind, name)
    if others:
        return f"{text}; write {' or '.join(repr(other.qualified_name) for other in others)}"
    meant = hints.nearest(distribution, {entry.distribution for entry in entries()})
    return f"{text}; did you mean '{meant}:{name}'?" if meant else f"{text}; install it"


def _advice(candidates: Candidates, kind: str, name: str, distribution: str | None) -> Iterator[str]:
    extra = hints.extra_for(kind, name) if distribution is None else None
    if extra is not None and not entries(hints.distribution_of(extra)):
        yield install(extra)
        return
    offered = {each: _offered(candidates, each, distribution) for each in KINDS}
    yield from (
        f"{name!r} is a {words(other)}"
        for other in KINDS
        if other != kind and name in (*offered[other], *hints.known_names(other))
    )
    meant = hints.nearest(name, offered[kind])
    if meant is not None:
        yield f"did you mean {meant!r}?"
        return
    ours = hints.nearest(name, hints.known_names(kind)) if distribution is None else None
    if ours is not None:
        yield f"did you mean {ours!r}, which comes with {install(str(hints.extra_for(kind, ours)))}?"
        return
    if offered[kind]:
        yield f"installed are {', '.join(offered[kind])}"
    plugins = [candidates.plugin(entry) for entry in entries(distribution)]
    silent = [f"{plugin.entry} ({plugin.state})" for plugin in plugins if plugin.state != "ok"]
    if silent:
        more = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
        yield f"`penstock plugins` tells more of {', '.join(silent[:_SHOWN])}{more}"


def _offered(candidates: Candidates, kind: str, distribution: str | None) -> Sequence[str]:
    plugins = [candidates.plugin(entry) for entry in entries(distribution)]
    return sorted({spec.name for plugin in plugins for spec in plugin.specs if spec.kind == kind})


def conflict(candidates: Sequence[Candidate], this: Candidate | None = None) -> str:
    """Why a name cannot be used although it is offered.

    Args:
        candidates: The candidates for the bare name.
        this: The candidate that is listed, if it is a single one; it may not be among the candidates.
    """
    first = this or candidates[0]
    name, kind = first.spec.name, words(first.spec.kind)
    plugins = " and ".join(str(each.plugin.entry) for each in candidates)
    if this is not None and this not in candidates:
        owner = plugins or "another plugin, which is broken"
        return (
            f"{this.plugin.entry} offers the {kind} {name!r} too, but that name is taken by {owner}, "
            f"as its entry point says; write {this.qualified_name!r} for this one"
        )
    text = f"{kind} {name!r} is offered by {plugins}"
    qualified = list(dict.fromkeys(repr(each.qualified_name) for each in candidates))
    if len(qualified) == len(candidates):
        return f"{text}; write {' or '.join(qualified)}"
    blocked = " or ".join(dict.fromkeys(each.plugin.entry.name for each in candidates))
    return f"{text}; keep one of them out with PENSTOCK_PLUGINS_BLOCK={blocked}"
