"""Of the messages that wait for the function together, leaves the newest of each key (`engine.batch: latest`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from penstock.message import QueueMessage
from penstock.pipeline.in_flight import InFlight


class Latest(deque[QueueMessage]):
    """Messages that wait: those without a key, and the newest of each key.

    What a newer one has superseded is left out here, and settled with it: see `InFlight.supersede`.

    Args:
        in_flight: Knows when messages came, and keeps the superseded ones.
    """

    def __init__(self, in_flight: InFlight) -> None:
        super().__init__()
        self._in_flight = in_flight

    def extend(self, messages: Iterable[QueueMessage]) -> None:
        """Add messages that wait; only the newest of each key stays."""
        super().extend(messages)
        self._leave_newest()

    def extendleft(self, messages: Iterable[QueueMessage]) -> None:
        """Add messages before all others, in reversed order; only the newest of each key stays."""
        super().extendleft(messages)
        self._leave_newest()

    def _leave_newest(self) -> None:
        newest: dict[tuple[str, bytes], QueueMessage] = {}
        left: dict[QueueMessage, None] = {}
        for message in self:
            left[message] = None
            if (key := message.key) is None:
                continue
            # Of several topics each has its own keys; its name, and the partition, stand in the position.
            where = (message.position.rpartition("/")[0], key)
            newer, older = message, newest.get(where)
            if older is not None:
                # A message that is tried again may stand behind a newer one.
                if self._in_flight.came_at(older) > self._in_flight.came_at(newer):
                    newer, older = older, newer
                self._in_flight.supersede(older, newer)
                del left[older]
            newest[where] = newer
        if len(left) < len(self):
            self.clear()
            super().extend(left)
