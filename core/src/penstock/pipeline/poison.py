"""Which messages may be killing the worker, and when one of them is declared a poison message.

A crash does not tell which message was to blame: all that the worker held are *suspects* afterwards. Most of them are
innocent, so they are called in small groups first, then alone, and each such call is recorded in the backend before it
begins. Only a message that ended the worker while it was called alone gains a count that declares it poison.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import PenstockError
from penstock.message import QueueMessage
from penstock.retry import RetryPolicy

GROUP = 1
"""The level of a suspect that may be called with a few others; above it, it is called alone."""

LEAST_ALONE = 2
"""Deliveries alone that a message gets before `attempts` alone declare it poison."""


class Suspicion:
    """What an engine concludes from `abandoned`, or from `attempts` where that is all that a connector tells.

    Args:
        policy: The engine's retry policy.
        counted: Whether the connector counts anything; otherwise nothing is a suspect.
        dead_letters: Whether there is a dead-letter queue; otherwise a poison message has nowhere to go.
    """

    def __init__(self, policy: RetryPolicy, *, counted: bool, dead_letters: bool) -> None:
        self._counted = counted
        self._limit = policy.max_deliveries
        self._dead_letters = dead_letters
        # A function that raises Retry is delivered that often by itself.
        self._usual = policy.max_attempts

    def among(self, messages: Sequence[QueueMessage]) -> list[QueueMessage]:
        """The suspects, the least suspicious first; most often none."""
        if not self._counted:
            return []
        usual = self._usual
        try:
            suspects = [m for m in messages if m.abandoned or (m.abandoned is None and m.attempts > usual)]
        except AttributeError:  # a connector's own class of messages, which fills its attributes itself
            suspects = [m for m in messages if self.level(m)]
        return self.in_order(suspects)

    def in_order(self, suspects: list[QueueMessage]) -> list[QueueMessage]:
        """The least suspicious first."""
        if len(suspects) < 2:
            return suspects
        # Where only attempts are known, neighbours of a poison message are called forwards once and backwards once, so
        # that those before it, and those behind it, are settled before it is its turn.
        places = {m: -i if _abandoned(m) is None and m.attempts % 2 else i for i, m in enumerate(suspects)}
        return sorted(suspects, key=lambda m: (self.level(m), places[m]))

    def level(self, message: QueueMessage) -> int:
        """How suspicious a message is: 0 not at all, `GROUP`, or more."""
        abandoned = _abandoned(message)
        if abandoned is None:
            beyond = message.attempts - self._usual
            return GROUP + beyond if beyond > 0 else 0
        return abandoned

    def poison_error(self, message: QueueMessage) -> PenstockError | None:
        """Why a message goes to the dead-letter queue without a call; None if it does not."""
        if not self._dead_letters:
            return None
        abandoned = _abandoned(message)
        if abandoned is None:
            if message.attempts > max(self._limit, self._usual + LEAST_ALONE):
                return PenstockError(
                    f"delivered {message.attempts} times and never settled: it may be killing the worker"
                )
            return None
        # The first death was in the worker's whole load, the second one in a group.
        alone = abandoned - GROUP - 1
        if alone < self._limit:
            return None
        return PenstockError(
            f"the worker died {abandoned} times with this message, {alone} times while it was called alone: it kills "
            "the worker"
        )


def _abandoned(message: QueueMessage) -> int | None:
    return getattr(message, "abandoned", None)
