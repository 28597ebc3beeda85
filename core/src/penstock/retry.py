"""Decides whether what failed is tried again, and when: a function, or a backend that is away."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from penstock.backoff import Backoff
from penstock.strict_model import StrictModel


class RetryPolicy(StrictModel):
    """How an engine treats a function that raises.

    A message is tried up to `max_attempts` times in all; what the connector counted before this delivery (crashes,
    other workers) counts too. Between two tries it stays in flight while others go on.

    Attributes:
        max_attempts: Calls of the function in all; 1 means no second try.
        initial_delay: Seconds before the second attempt.
        factor: How much longer each further wait is.
        max_delay: Seconds that no wait exceeds.
        jitter: Share of a wait that is random, 0 to 1.
        max_deliveries: A message that ended the worker this often while it was called alone is dead-lettered unseen.
            Neither requeues nor crashes of the worker beside others count. Needs a dead-letter queue and a connector
            with `redelivery_count`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    max_attempts: int = Field(default=3, ge=1)
    initial_delay: float = Field(default=0.5, ge=0)
    factor: float = Field(default=2.0, ge=1)
    max_delay: float = Field(default=30.0, ge=0)
    jitter: float = Field(default=0.5, ge=0, le=1)
    max_deliveries: int = Field(default=20, ge=1)

    def again(self, attempts: int) -> bool:
        """Whether a message is tried again after `attempts` attempts."""
        return attempts < self.max_attempts

    def delay(self, attempts: int) -> float:
        """Seconds until the next attempt after `attempts` attempts."""
        return Backoff(self.initial_delay, self.factor, self.max_delay, self.jitter).delay(attempts)


class QueueRetry(StrictModel):
    """How a queue treats a backend that is away, or refuses records for now.

    Attributes:
        max_attempts: How often it tries to connect, or to send a record, in a row; None tries for ever. Then an input
            ends its worker, and a record that an output could not send counts as refused by its backend.
        initial_delay: Seconds before the second attempt.
        factor: How much longer each further wait is.
        max_delay: Seconds that no wait exceeds.
        jitter: Share of a wait that is random, 0 to 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    max_attempts: int | None = Field(default=None, ge=1)
    initial_delay: float = Field(default=0.25, ge=0)
    factor: float = Field(default=2.0, ge=1)
    max_delay: float = Field(default=15.0, ge=0)
    jitter: float = Field(default=0.5, ge=0, le=1)

    @property
    def backoff(self) -> Backoff:
        """Its waits."""
        return Backoff(self.initial_delay, self.factor, self.max_delay, self.jitter)
