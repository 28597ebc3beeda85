"""`rate_limit`: how many messages a second one engine takes."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from penstock.middleware import EngineInfo, Limit, Middleware

ROUNDING = 1e-6  # of a token; sums of fractions end just below a whole one


class RateLimit(Middleware):
    """How many messages a second the engine fetches from its input queue; the others wait there.

    No thread sleeps and no lease runs while messages wait, so stopping takes no longer. A message that the same worker
    tries again is not fetched again, so it is not counted again.

    Attributes:
        per_second: Messages a second, in this worker and engine.
        burst: Messages that may come at once after a pause; by default those of a fifth of a second, at least one.
    """

    per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    burst: Annotated[int, Field(ge=1)] | None = None

    def limit(self, engine: EngineInfo) -> Limit:  # noqa: ARG002  (each engine has its own)
        """A bucket of tokens for one engine."""
        return _Bucket(self.per_second, self.burst or math.ceil(self.per_second / 5))


class _Bucket:
    """Fills by `rate` tokens a second up to `size`; a message takes one."""

    def __init__(self, rate: float, size: int) -> None:
        self._rate = rate
        self._size = size
        self._tokens = float(size)
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
