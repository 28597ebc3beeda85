"""The sentences for a name that does not lead to exactly one usable offer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.plugins import hints
from penstock.plugins.claims import Claim, Claims, entries
from penstock.plugins.install_commands import install
from penstock.plugins.loading import Plugin

_SHOWN = 3  # plugins that did not work which an error lists
KINDS = ("connector", "serializer", "model_handler", "profile", "command", "middleware", "route")


def words(kind: str) -> str:
    """A kind as a sentence has it."""
    return kind.replace("_", " ")


def failure(claims: Claims, kind: str, name: str, distribution: str | None) -> Plugin | None:
    """The plugin that should offer a name but is broken, incompatible or blocked; the name is otherwise unknown."""
    extra = hints.extra_for(kind, name)
    stems = (*hints.stems(kind, name), *([extra] if extra else ()))
    failed = [
        claims.plugin(entry)
        for stem in stems
        for entry in entries(distribution)
        if entry.name == stem and claims.plugin(entry).state != "ok"
    ]
    if not failed and distribution is not None:
        failed = [claims.plugin(entry) for entry in entries(distribution) if claims.plugin(entry).state != "ok"]
    return failed[0] if failed else None


def unknown(claims: Claims, kind: str, name: str, distribution: str | None) -> str:
    """Why a name leads nowhere, and the name or the command that was probably wanted."""
    if distribution is None:
        text = f"{words(kind)} {name!r}: nothing that is installed offers one of this name"
    elif entries(distribution):
        text = f"{words(kind)} '{distribution}:{name}': {distribution} offers none of this name"
    else:
        return _unknown_distribution(claims, kind, name, distribution)
    return "; ".join([text, *_advice(claims, kind, name, distribution)])


def _unknown_distribution(claims: Claims, kind: str, name: str, distribution: str) -> str:
    text = f"{words(kind)} '{distribution}:{name}': no distribution {distribution!r} with a plugin is installed"
    extra = hints.extra_of(distribution)
    if extra is not None:
        return f"{text}; {install(extra)}"
    others = claims.of(kind, name)
    if others:
        return f"{text}; write {' or '.join(repr(other.qualified_name) for other in others)}"
    meant = hints.nearest(distribution, {entry.distribution for entry in entries()})
    return f"{text}; did you mean '{meant}:{name}'?" if meant else f"{text}; install it"


def _advice(claims: Claims, kind: str, name: str, distribution: str | None) -> Iterator[str]:
    extra = hints.extra_for(kind, name) if distribution is None else None
    if extra is not None and not entries(hints.distribution_of(extra)):
        yield install(extra)
        return
    offered = {each: _offered(claims, each, distribution) for each in KINDS}
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
    plugins = [claims.plugin(entry) for entry in entries(distribution)]
    silent = [f"{plugin.entry} ({plugin.state})" for plugin in plugins if plugin.state != "ok"]
    if silent:
        more = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
        yield f"`penstock plugins` tells more of {', '.join(silent[:_SHOWN])}{more}"


def _offered(claims: Claims, kind: str, distribution: str | None) -> Sequence[str]:
    plugins = [claims.plugin(entry) for entry in entries(distribution)]
    return sorted({spec.name for plugin in plugins for spec in plugin.specs if spec.kind == kind})


def rivalry(rivals: Sequence[Claim], mine: Claim | None = None) -> str:
    """Why a name that is offered cannot be used as it is.

    Args:
        rivals: The claims that count for the bare name.
        mine: The claim that is looked at, if it is a single one; it may not be among the rivals.
    """
    claim = mine or rivals[0]
    name, kind = claim.spec.name, words(claim.spec.kind)
    if mine is not None and mine not in rivals:
        owner = " and ".join(str(rival.plugin.entry) for rival in rivals) or "another plugin, which is broken"
        return (
            f"{mine.plugin.entry} offers the {kind} {name!r} too, but that name is taken by {owner}, "
            f"as its entry point says; write {mine.qualified_name!r} for this one"
        )
    plugins = " and ".join(str(rival.plugin.entry) for rival in rivals)
    text = f"{kind} {name!r} is offered by {plugins}"
    qualified = list(dict.fromkeys(repr(rival.qualified_name) for rival in rivals))
    if len(qualified) == len(rivals):
        return f"{text}; write {' or '.join(qualified)}"
    blocked = " or ".join(dict.fromkeys(rival.plugin.entry.name for rival in rivals))
    return f"{text}; keep one of them out with PENSTOCK_PLUGINS_BLOCK={blocked}"
