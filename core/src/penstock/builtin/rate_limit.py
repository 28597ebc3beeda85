"""`rate_limit`: how many messages a second one engine takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from penstock.middleware import EngineInfo, Limit, Middleware
from penstock.pace import Bucket


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
        return Bucket(self.per_second, self.burst)
