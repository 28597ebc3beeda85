"""Sentences about unknown names: what was probably meant, and which names exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from penstock.plugins.hints import nearest


def listed(names: Iterable[str]) -> str:
    """Names for the middle of a sentence: `'a', 'b'`, in the order given."""
    return ", ".join(repr(name) for name in names)


def instead(name: str, known: Collection[str], what: str) -> str:
    """The second half of a sentence about a name that is not known.

    Args:
        name: What was written.
        known: What could have been written.
        what: Introduces the known ones: "its keys are", "there are".
    """
    if close := nearest(name, known):
        return f"did you mean {close!r}?"
    return f"{what} {listed(known)}" if known else "there is none"


def unknown_queue(name: str, configured: Collection[str], source: str = "") -> str:
    """The sentence for a queue that an engine names and the configuration does not.

    Args:
        name: What the engine was told.
        configured: The queues of the configuration.
        source: The configuration's file, if it has one.
    """
    where = source or "the configuration"
    if not configured:
        return f"queue {name!r} is not in {where}, which has no queues at all"
    guess = nearest(name, configured)
    hint = f"; did you mean {guess!r}?" if guess else ""
    return f"queue {name!r} is not in {where}, which has {listed(configured)}{hint}"
