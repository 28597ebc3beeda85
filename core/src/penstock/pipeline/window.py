"""How far ahead of the function messages are fetched: within the limits, and no further than it works off soon."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from penstock.message import QueueMessage

if TYPE_CHECKING:
    from penstock.config.model import EngineSettings

FIRST_WINDOW = 16  # messages fetched ahead before the function's speed is known
AHEAD = 0.25  # seconds of work that may wait, fetched, before the function


class Window:
    """Says how many messages to ask for.

    Args:
        settings: Limits.
        whole_batches: The function takes lists: it is given whole ones, however long it takes for one.

    Attributes:
        worked: The function has finished something since it last ran out of messages.
    """

    def __init__(self, settings: EngineSettings, *, whole_batches: bool) -> None:
        self.worked = False
        self._settings = settings
        self._least = float(settings.batch_size if whole_batches else settings.concurrency)
        self._size = float(max(FIRST_WINDOW, settings.concurrency))
        self._body_size = 1.0
        self._taken, self._taken_at = 0, monotonic()

    def room(self, held: int, waiting: int, taken: int) -> int:
        """How many messages to ask for now; 0 to wait.

        Args:
            held: Messages in flight.
            waiting: Those of them that wait for the function.
            taken: Messages that the function was given so far.
        """
        settings = self._settings
        self._measure(waiting, taken)
        allowed = min(settings.max_in_flight, int(settings.max_in_flight_bytes / self._body_size) or 1)
        room = min(allowed - held, int(self._size) - waiting)
        # A trickle of tiny batches costs more than a short wait, unless the function has nothing to do.
        worth_it = 1 if waiting == 0 else max(1, min(allowed, int(self._size)) // 4)
        return room if room >= worth_it else 0

    def sample(self, messages: Sequence[QueueMessage]) -> None:
        """A few bodies tell the size of the rest; growing counts at once, shrinking slowly."""
        step = max(1, len(messages) // 8)
        sizes = [len(message.message or b"") for message in messages[::step]]
        size = max(1.0, sum(sizes) / len(sizes))
        self._body_size = size if size > self._body_size else self._body_size * 0.9 + size * 0.1

    def _measure(self, waiting: int, taken: int) -> None:
        """Fetch no further ahead than the function can work off soon, so that other workers get their share."""
        now = monotonic()
        if waiting == 0:
            # Only what is finished tells that the function is fast enough for more.
            if self.worked:
                self._size = min(self._size * 2, float(self._settings.max_in_flight))
            self.worked = False
        elif now - self._taken_at >= AHEAD / 5:
            rate = (taken - self._taken) / (now - self._taken_at)
            self._size = max(self._least, rate * AHEAD)
        else:
            return
        self._taken, self._taken_at = taken, now
