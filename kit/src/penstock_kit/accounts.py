"""Counts messages: sent, seen, lost, repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from penstock_kit.broken import must

MOST_SHOWN = 40  # bytes of a value in an error


def balance(
    sent: Iterable[bytes | None], seen: Iterable[bytes | None], *, repeats: int = 0, scenario: str, look: str = ""
) -> None:
    """Check that every sent message was seen, nothing else was, and none twice unless a fault allows it.

    Args:
        sent: Bodies, all different.
        seen: Bodies as they were delivered.
        repeats: How many deliveries may be repetitions: 0 without an injected fault, else at most the messages in
            flight.
        scenario: What happened ("after a close with work in flight").
        look: Where an author should look.

    Raises:
        Broken: messages are lost, invented, or repeated too often.
    """
    wanted, counts = set(sent), Counter(seen)
    extra = counts.total() - len(counts)
    repeated = [body for body, count in counts.items() if count > 1]
    lost = sorted(wanted - counts.keys(), key=repr)
    moreover = f"; moreover {extra} deliveries are repetitions" if extra > repeats else ""
    must(
        not lost,
        f"{scenario}: {len(lost)} of {len(wanted)} messages are LOST: {_short(lost)}{moreover}",
        look or "when a message leaves the backend: only on_success may make it go",
    )
    unexpected = [body for body in counts if body not in wanted]
    must(
        not unexpected,
        f"{scenario}: {len(unexpected)} messages came that should not have come: {_short(unexpected)}",
        look or "how a queue's name becomes a place in the backend, what is done to bodies, what on_success settles",
    )
    allowed = f"at most {repeats} may be, those in flight" if repeats else "none may be, because no fault was injected"
    must(
        extra <= repeats,
        f"{scenario}: {extra} deliveries are repetitions; {allowed}. Repeated: {_short(repeated)}",
        look or "what consume hands out twice, and what on_success does not settle",
    )


def shown(value: bytes | None) -> str:
    """A value as an error shows it, shortened. The kit's own bodies are not secret."""
    if value is None or len(value) <= MOST_SHOWN:
        return repr(value)
    return f"{value[: MOST_SHOWN // 2]!r}… ({len(value)} bytes)"


def shown_headers(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Headers as an error shows them."""
    return "[" + ", ".join(f"({name!r}, {shown(value)})" for name, value in headers) + "]"


def _short(some: list[bytes | None]) -> str:
    first = ", ".join("a tombstone" if body is None else _end(body) for body in some[:5])
    return first + (", …" if len(some) > 5 else "")


def _end(body: bytes) -> str:
    # The kit's bodies differ at their ends.
    return repr(body) if len(body) <= MOST_SHOWN else f"…{body[-MOST_SHOWN // 2 :]!r}"
