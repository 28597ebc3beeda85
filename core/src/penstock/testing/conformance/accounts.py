"""Counting: what was sent, what was seen, what is lost, what came twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from penstock.testing.conformance.promises import must


def balance(
    sent: Iterable[bytes | None], seen: Iterable[bytes | None], *, repeats: int = 0, story: str, look: str = ""
) -> None:
    """Every message that was sent was seen; nothing else was; none twice, but where a fault allows it.

    Args:
        sent: Bodies, all different.
        seen: Bodies as they were delivered.
        repeats: How many deliveries more than messages there may be: 0 where no fault was injected, else no more than
            was in flight.
        story: What happened ("after a close with work in flight").
        look: Where an author should look.

    Raises:
        Broken: messages are lost, invented, or repeated too often.
    """
    wanted, counts = set(sent), Counter(seen)
    lost = sorted(wanted - counts.keys(), key=repr)
    must(
        not lost,
        f"{story}: {len(lost)} of {len(wanted)} messages are LOST, the first of them number {_short(lost)}",
        look or "when a message leaves the backend: only on_success may make it go",
    )
    ghosts = [body for body in counts if body not in wanted]
    must(
        not ghosts,
        f"{story}: {len(ghosts)} messages came that nobody has sent to this queue, such as {ghosts[0]!r}"[:300]
        if ghosts
        else "",
        look or "how a queue's name becomes a place in the backend, and what is done to bodies",
    )
    extra = counts.total() - len(counts)
    twice = [body for body, count in counts.items() if count > 1]
    allowed = f"at most {repeats} may, which were in flight" if repeats else "none may, for nothing went wrong"
    must(
        extra <= repeats,
        f"{story}: {extra} deliveries are repetitions; {allowed}. Repeated: {_short(twice)}",
        look or "what consume hands out twice, and what on_success does not settle",
    )


def _short(some: list[bytes | None]) -> str:
    shown = ", ".join(repr((body or b"")[:20]) for body in some[:5])
    return shown + (", …" if len(some) > 5 else "")
