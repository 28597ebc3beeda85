"""How fast messages are fetched: by a rate, or so often. Both are a `Limit` of one engine."""

from __future__ import annotations

import math

ROUNDING = 1e-6  # of a token, or a second; sums of fractions end just below a whole one


class Bucket:
    """Fills by `rate` tokens a second up to `size`; a message takes one.

    Args:
        rate: Tokens a second.
        size: By default those of a fifth of a second, at least one.
    """

    def __init__(self, rate: float, size: int | None = None) -> None:
        self._rate = rate
        self._size = size or math.ceil(rate / 5)
        self._tokens = float(self._size)
        self._filled_at: float | None = None

    def room(self, now: float) -> int:
        """How many tokens there are."""
        if self._filled_at is not None:
            # One more than fits: an event loop is late by a little, and that must not cost tokens.
            self._tokens = min(self._size + 1, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return min(self._size, int(self._tokens + ROUNDING))

    def due_in(self, now: float) -> float:  # noqa: ARG002  (`room` has filled the bucket)
        """Seconds until there is a token."""
        return max(0.0, (1 - self._tokens) / self._rate)

    def took(self, count: int, now: float) -> None:  # noqa: ARG002  (as above)
        """Take tokens."""
        self._tokens -= count


class Frequency:
    """One fetch, then none for `seconds`.

    Args:
        seconds: From one fetch that brought messages to the next.
        most: Messages of one fetch.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._next = -math.inf

    def room(self, now: float) -> int:
        """All of a fetch, or nothing."""
        return self._most if now >= self._next - ROUNDING else 0

    def due_in(self, now: float) -> float:
        """Seconds until the next fetch."""
        return max(0.0, self._next - now)

    def took(self, count: int, now: float) -> None:  # noqa: ARG002  (however few there were)
        """The pause begins."""
        self._next = now + self._seconds
