"""How far ahead of the function messages are fetched: within the limits, and no further than it works off soon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.message import QueueMessage

if TYPE_CHECKING:
    from penstock.config.model import EngineSettings

FIRST_WINDOW = 16  # messages fetched ahead before the function's speed is known
AHEAD = 0.25  # seconds of work that may wait, fetched, for the function
SAMPLE = 8  # bodies of a fetch that are weighed


class PrefetchWindow:
    """Says how many messages to ask for. It reads no clock and does no I/O.

    Args:
        settings: Limits.
        whole_batches: The function takes lists. It gets whole ones, however long it takes for one.
        now: The time, by `monotonic`.
    """

    def __init__(self, settings: EngineSettings, *, whole_batches: bool, now: float) -> None:
        self._settings = settings
        self._least = float(settings.batch_size if whole_batches else settings.concurrency)
        self._size = max(float(FIRST_WINDOW), self._least if settings.batch_wait else float(settings.concurrency))
        self._body_size = 1.0
        self._returned = 0
        self._taken, self._observed_at = 0, now

    def room(self, in_flight: int, waiting: int) -> int:
        """How many messages to ask for now; 0 to wait.

        Args:
            in_flight: Messages received and not settled.
            waiting: Those of them that wait for the function.
        """
        settings = self._settings
        allowed = min(settings.max_in_flight, int(settings.max_in_flight_bytes / self._body_size) or 1)
        room = min(allowed - in_flight, int(self._size) - waiting)
        # A trickle of tiny batches costs more than a short wait, unless the function has nothing to do.
        fills = waiting == 0 or settings.batch_wait  # nothing to do, or a list that is to be full
        worth_it = 1 if fills else max(1, min(allowed, int(self._size)) // 4)
        return room if room >= worth_it else 0

    def observe(self, taken: int, returned: int, waiting: int, now: float) -> None:
        """Adapt to the function's speed, so that other workers get their share of what it cannot work off soon.

        Args:
            taken: Messages that the function was given so far.
            returned: Messages of which the calls have ended so far.
            waiting: Messages that wait for it.
            now: The time, by `monotonic`.
        """
        if waiting == 0:
            # Only what is finished shows that the function is fast enough for more.
            if returned > self._returned:
                self._size = min(self._size * 2, float(self._settings.max_in_flight))
            self._returned = returned
        elif now - self._observed_at >= AHEAD / 5:
            rate = (taken - self._taken) / (now - self._observed_at)
            self._size = max(self._least, rate * AHEAD)
        else:
            return
        self._taken, self._observed_at = taken, now

    def weigh(self, messages: Sequence[QueueMessage]) -> None:
        """A few bodies give the size of the rest. A larger size counts at once, a smaller one slowly."""
        step = max(1, len(messages) // SAMPLE)
        sizes = [len(message.message or b"") for message in messages[::step]]
        size = max(1.0, sum(sizes) / len(sizes))
        self._body_size = size if size > self._body_size else self._body_size * 0.9 + size * 0.1
