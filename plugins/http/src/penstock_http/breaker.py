"""Leaves a host alone that fails again and again, and then lets one request find out whether it is back."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from penstock.errors import NotConnected


@dataclass(slots=True)
class Breaker:
    """One host.

    Args:
        host: For errors.
        limit: Failures in a row after which it is left alone; 0: never.
        pause: Seconds for which it is.
    """

    host: str
    limit: int
    pause: float
    failures: int = 0
    closed_until: float = 0.0  # by `monotonic`; no request before

    def enter(self) -> None:
        """Ask whether a request may be made now.

        Raises:
            NotConnected: not yet.
        """
        left = self.closed_until - monotonic()
        if left > 0:
            raise NotConnected(f"{self.host} is left alone after {self.failures} failures in a row", left)
        if self.limit and self.failures >= self.limit:
            self.closed_until = monotonic() + self.pause  # for the others, while this request finds out

    def failed(self, asked_for: float | None) -> None:
        """A request failed.

        Args:
            asked_for: Seconds that the host itself has asked to wait.
        """
        self.failures += 1
        wait = asked_for or 0.0
        if self.limit and self.failures >= self.limit:
            wait = max(wait, self.pause)
        self.closed_until = max(self.closed_until, monotonic() + wait)

    def succeeded(self) -> None:
        """The host has answered."""
        self.failures, self.closed_until = 0, 0.0
