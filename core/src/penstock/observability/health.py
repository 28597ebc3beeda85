"""A registry of states with reasons: what works, what does not and why, and whether every loop still turns.

The parts of a worker fill it, and `worker/endpoints.py` shows it. It knows nothing of HTTP, queues or brokers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from penstock.events import Observer, StateChanged
from penstock.observability.observers import guarded
from penstock.observability.outages import Outages

log = logging.getLogger("penstock")

State = Literal["ok", "starting", "degraded", "failed", "stopping"]
"""What a component can be.

- ok: it works
- starting: not yet
- degraded: it does not work, as with a broker that is away, and goes on trying
- failed: it gave up
- stopping: it drains
"""

REASON_LENGTH = 500  # characters of a reason that are kept; a client's error can be a page long


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one component.

    Attributes:
        state: See `State`.
        reason: A sentence that says why; "" without a reason. Holds no secret and no message body.
        since: When this state began, in seconds since the epoch. A new reason alone does not move it.
    """

    state: State
    reason: str
    since: float


class Heartbeat:
    """Watches one loop. `beat` is one clock read and one attribute write, so a loop may call it on every turn."""

    __slots__ = ("_last", "_monotonic", "_stopped", "component", "limit")

    def __init__(self, component: str, limit: float, monotonic: Callable[[], float]) -> None:
        self.component = component
        self.limit = limit
        self._monotonic = monotonic
        self._last = monotonic()
        self._stopped = False

    def beat(self) -> None:
        """The loop has turned."""
        self._last = self._monotonic()

    def stop(self) -> None:
        """The loop has ended as it should, and no further beat is due."""
        self._stopped = True

    @property
    def age(self) -> float:
        """Seconds since the last beat, 0 once it has stopped."""
        return 0.0 if self._stopped else self._monotonic() - self._last

    @property
    def late(self) -> bool:
        """Whether the loop has not turned for longer than its limit."""
        return self.age > self.limit


class Health:
    """The registry. Every method may be called from any thread.

    Args:
        clock: Seconds since the epoch, for `since`.
        monotonic: Seconds that never jump, for heartbeats.

    Attributes:
        outages: Which servers are away; what it logs is about all queues of a server at once.
    """

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self.outages = Outages()
        self._lock = threading.Lock()
        self._states: dict[str, Status] = {}
        self._heartbeats: dict[str, Heartbeat] = {}
        self._observers: dict[Observer, Observer] = {}

    def subscribe(self, observer: Observer) -> None:
        """Tell an observer each change of a state, once however often it subscribes."""
        with self._lock:
            self._observers.setdefault(observer, guarded(observer))

    def set_state(self, component: str, state: State, reason: str = "") -> None:
        """Set the state of one component. "starting", "ok" and "stopping" are logged.

        Args:
            component: Its name, the same on every call ("engine orders", "output invoices").
            state: See `State`.
            reason: Why; without secrets. Cut to 500 characters.

        Raises:
            ValueError: the state is unknown.
        """
        if state not in get_args(State):
            raise ValueError(
                f"health of {component!r}: unknown state {state!r}; use one of {', '.join(get_args(State))}"
            )
        with self._lock:
            before = self._states.get(component)
            since = before.since if before is not None and before.state == state else self._clock()
            self._states[component] = status = Status(state, reason[:REASON_LENGTH], since)
            observers = () if before == status else tuple(self._observers.values())
        for observe in observers:
            observe(StateChanged(component, state, status.reason))
        # A failure is logged where it is found, with all that is known there.
        if state in ("starting", "ok", "stopping") and not reason and (before is None or before.state != state):
            log.debug("%s: %s", component, state)

    def get(self, component: str) -> Status | None:
        """The state of one component; None if it was never set."""
        with self._lock:
            return self._states.get(component)

    def snapshot(self) -> dict[str, Status]:
        """The state of each component."""
        with self._lock:
            return dict(self._states)

    def remove(self, component: str) -> None:
        """Remove a component that has finished; it must not affect readiness."""
        with self._lock:
            self._states.pop(component, None)

    def heartbeat(self, component: str, limit: float) -> Heartbeat:
        """Watch a loop from now on. A second call for the same component replaces the first.

        Args:
            component: The loop's name.
            limit: Seconds without a beat after which the worker counts as hung. Longer than anything the loop may
                rightly wait for; never a broker's answer, or an outage would restart the fleet.

        Raises:
            ValueError: the limit is not positive.
        """
        if limit <= 0:
            raise ValueError(f"heartbeat of {component!r}: limit={limit} must be more than 0 seconds")
        heartbeat = Heartbeat(component, limit, self._monotonic)
        with self._lock:
            self._heartbeats[component] = heartbeat
        return heartbeat

    def ready(self) -> bool:
        """Whether everything works: there are components and each is "ok"."""
        with self._lock:
            return _all_ok(self._states)

    def alive(self) -> bool:
        """Whether every loop still turns. Brokers do not matter: restarting this process would not repair them."""
        with self._lock:
            return not any(heartbeat.late for heartbeat in self._heartbeats.values())

    def report(self) -> dict[str, Any]:
        """All states as plain data, for JSON.

        Returns:
            `{"ready": bool, "alive": bool, "components": {name: {"state", "reason", "since"}}, "heartbeats": {name:
            {"age_seconds", "limit_seconds", "late"}}}`; `since` is RFC 3339 in UTC.
        """
        with self._lock:
            states = dict(self._states)
            heartbeats = list(self._heartbeats.values())
        return {
            "ready": _all_ok(states),
            "alive": not any(heartbeat.late for heartbeat in heartbeats),
            "components": {
                name: {"state": status.state, "reason": status.reason, "since": rfc3339(status.since)}
                for name, status in states.items()
            },
            "heartbeats": {
                heartbeat.component: {
                    "age_seconds": round(heartbeat.age, 3),
                    "limit_seconds": heartbeat.limit,
                    "late": heartbeat.late,
                }
                for heartbeat in heartbeats
            },
        }


def _all_ok(states: dict[str, Status]) -> bool:
    # Without any state, the worker has not begun.
    return bool(states) and all(status.state == "ok" for status in states.values())


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch, as text in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class UnobservedHealth(Health):
    """Tells no observer, for an engine that is built only to be judged."""

    def subscribe(self, observer: Observer) -> None:
        """Ignore the observer: nothing will happen."""
