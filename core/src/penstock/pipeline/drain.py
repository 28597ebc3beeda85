"""Finds out whether an engine has nothing left to do."""

from __future__ import annotations

from time import monotonic

from penstock.pipeline.in_flight import InFlight
from penstock.queues.queue import InputQueue


class DrainDetector:
    """Knows since when an engine has been idle.

    Args:
        source: The input queue.
        in_flight: What the engine is working on.
    """

    def __init__(self, source: InputQueue, in_flight: InFlight) -> None:
        self._source = source
        self._in_flight = in_flight
        self._empty_since: float | None = None
        self._expected_until = 0.0

    def received(self) -> None:
        """The input queue had messages."""
        self._empty_since = None

    def found_empty(self, asked_at: float) -> None:
        """The input queue had no message when it was asked."""
        if not self._in_flight:
            self._empty_since = asked_at

    def expect(self, delay: float) -> None:
        """Requeued messages come again after `delay` seconds; until then an empty queue does not count as drained."""
        self._expected_until = max(self._expected_until, monotonic() + delay)

    async def idle_since(self) -> float | None:
        """Since when there has been nothing to do, by `monotonic`; None while there is, or may come, something."""
        empty = self._empty_since
        if empty is None or self._in_flight or monotonic() < self._expected_until:
            return None
        lag = await self._source.lag()
        if self._empty_since is None or self._in_flight:
            return None  # a message came while the backend counted, and is counted no more
        if lag is None and self._source.resolved.capabilities.lag:
            return None  # the backend can tell, but does not know yet, as a group without an assignment
        return None if lag else empty
