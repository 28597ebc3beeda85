"""Growing waits: for reconnecting, producing again and calling a function again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays with a cap and jitter.

    Attributes:
        initial: Seconds before the second attempt.
        factor: How much longer each further wait is.
        maximum: Seconds that no wait exceeds.
        jitter: Share of a wait that is random, 0 to 1: 0.5 waits between half and the whole, so that workers that
            failed together do not return together.
    """

    initial: float = 0.5
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.5

    def delay(self, failures: int) -> float:
        """Seconds to wait after `failures` failures in a row (1 is the first)."""
        wait: float
        try:
            wait = min(self.maximum, self.initial * self.factor ** (failures - 1.0))
        except OverflowError:
            wait = self.maximum if self.initial else 0.0
        return wait * (1.0 - self.jitter * random.random())
