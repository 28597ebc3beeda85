"""Leaves a host alone that fails again and again, and then lets one request find out whether it is back."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from penstock.errors import NotConnected

MOST = 1_000  # hosts that are remembered as failing: records may name any number of them


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


class Breakers:
    """The breakers of the hosts that have failed last.

    Args:
        limit, pause: As of `Breaker`.
    """

    def __init__(self, limit: int, pause: float) -> None:
        self._limit = limit
        self._pause = pause
        self._failing: dict[str, Breaker] = {}  # the one that failed last comes last

    def __len__(self) -> int:
        return len(self._failing)

    def enter(self, host: str) -> None:
        """See `Breaker.enter`."""
        if breaker := self._failing.get(host):
            breaker.enter()

    def failed(self, host: str, asked_for: float | None) -> None:
        """See `Breaker.failed`."""
        breaker = self._failing.pop(host, None) or Breaker(host, self._limit, self._pause)
        breaker.failed(asked_for)
        self._failing[host] = breaker
        if len(self._failing) > MOST:
            del self._failing[next(iter(self._failing))]

    def answered(self, host: str) -> None:
        """The host can be used."""
        self._failing.pop(host, None)
