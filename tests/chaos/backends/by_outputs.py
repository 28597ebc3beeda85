"""For backends whose clients do not tell what workers hold: a message is settled soon after its output is there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

SETTLED_WITHIN = 3.0  # seconds in which workers settle what they hold, when every message has an output


class Results(Protocol):
    """What of a backend is needed here."""

    def count(self, name: str) -> int | None:
        """See `Backend`."""

    def outputs(self, name: str) -> Sequence[bytes]:
        """See `Backend`."""


def without_output(backend: Results, sent: int, queues: Sequence[str]) -> int | None:
    """How many of the messages sent are in none of the queues; it waits for settlements when all are.

    Args:
        backend: Which counts and reads.
        sent: Messages in the input queue.
        queues: The output queue, and that of dead letters.
    """
    made = 0
    for queue in queues:
        if (count := backend.count(queue)) is None:
            return None
        made += count
    if made < sent:
        return sent - made
    # Some may have come twice.
    if missing := sent - sum(len(set(backend.outputs(queue))) for queue in queues):
        return missing
    time.sleep(SETTLED_WITHIN)
    return 0
