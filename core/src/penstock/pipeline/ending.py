"""How an engine ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ending:
    """What an engine has left in its input queue.

    Attributes:
        unsettled: Messages that it received and did not settle; they are redelivered.
        waiting: How many messages wait in the queue beside them; None if unknown. Only a drain asks for it.
        clean: Whether the queue closed cleanly; otherwise what was settled last may come again.
    """

    unsettled: int
    waiting: int | None
    clean: bool
