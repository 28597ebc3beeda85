"""Which servers are away, as the log tells it: one line when a server is lost, however many queues it has, one line now
and then while it is away, and one when it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("penstock")

FIRST_REMINDER = 10.0  # seconds after which a server that is still away is logged again
REMINDER_FACTOR = 3.0  # how much longer each further pause is
LONGEST_PAUSE = 600.0  # seconds between two lines about one trouble
ASK_WITHIN = 2.0  # seconds that the answers may take how much waits

Lag = Callable[[], Awaitable[int | None]]


def duration(seconds: float) -> str:
    """`0.4 s`, `59 s`, `5 min 12 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


class Trouble:
    """Something that goes on and is logged at growing intervals.

    Attributes:
        since: When it began; None while there is none.
        told: Whether it was logged.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self.told = False
        self._pause = FIRST_REMINDER
        self._next = 0.0

    def is_due(self, now: float) -> bool:
        """Whether a line is due now: the first one is, and then one after each pause."""
        if self.since is None:
            self.since, self._pause = now, FIRST_REMINDER
        elif self.told and now < self._next:
            return False
        elif self.told:
            self._pause = min(self._pause * REMINDER_FACTOR, LONGEST_PAUSE)
        self.told = True
        self._next = now + self._pause
        return True

    def over(self, now: float) -> float | None:
        """End the outage. Returns its seconds if it was logged."""
        seconds = now - self.since if self.since is not None and self.told else None
        self.since, self.told = None, False
        return seconds


@dataclass(frozen=True, slots=True)
class Place:
    """One queue's connection.

    Attributes:
        server: The server as log lines name it; empty if the connector does not name it.
        label: The queue, as errors call it.
        component: Its name in the health registry.
        fields: What its log records carry: engine, queue, connector.
        file: The file of the configuration; "" if it is not in a file.
    """

    server: str
    label: str
    component: str
    fields: Mapping[str, str]
    file: str = ""


@dataclass(slots=True)
class _Server:
    subject: str
    places: dict[str, Place] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    trouble: Trouble = field(default_factory=Trouble)
    began: float = float("-inf")  # the last outage that is over


class Outages:
    """The servers of a worker. Called on the event loop's thread."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}
        self._lags: dict[tuple[str, str], Lag] = {}
        self._reports: set[asyncio.Task[None]] = set()

    def add(self, place: Place) -> None:
        """A queue will connect to this server."""
        key = place.server or place.component
        self._servers.setdefault(key, _Server(place.server or place.label)).places[place.component] = place

    def ask(self, engine: str, queue: str, lag: Lag) -> None:
        """Ask this how much waits in an engine's input queue, once a server is back."""
        self._lags[engine, queue] = lag

    def lost(self, place: Place, reason: str, connected: float) -> None:
        """A queue lost a connection that it had since `connected`."""
        server, now = self._server(place), _now()
        server.away.add(place.component)
        if server.trouble.since is None and connected < server.began:
            # It broke in the last outage, and no call has noticed it before.
            server.trouble.since = now
        elif server.trouble.since is None:
            self._warn(place, server, now, f"{reason}; connecting again")

    def still_away(self, place: Place, reason: str, timeout: float | None) -> None:
        """A queue could not connect. `timeout` is how long a start tries it."""
        server, now = self._server(place), _now()
        server.away.add(place.component)
        begun, told = server.trouble.since, server.trouble.told
        if begun is None or not told:
            limit = "" if timeout is None else f" for {duration(timeout)} (worker: connect_timeout)"
            self._warn(place, server, now, f"{reason}; trying to connect{limit}")
        else:
            self._warn(place, server, now, f"still away after {duration(now - begun)}: {reason}; connecting again")

    def silent(self, place: Place, reason: str) -> None:
        """A queue has no answer for long. Its client may connect again by itself, and never say that it is not."""
        server, now = self._server(place), _now()
        server.away.add(place.component)
        self._warn(place, server, now, reason)

    def back(self, place: Place) -> None:
        """A queue is connected, or has an answer again."""
        server, now = self._server(place), _now()
        server.away.discard(place.component)
        if server.away or server.trouble.since is None:
            return
        server.began = server.trouble.since
        seconds = server.trouble.over(now)
        if seconds is None:
            return
        text, fields = f"{server.subject}: connected again after {duration(seconds)}", _shared(server.places.values())
        engines = {each.fields.get("engine") for each in server.places.values()}
        asked = {queue: lag for (engine, queue), lag in self._lags.items() if engine in engines}
        if not asked:
            log.warning("%s", text, extra=fields)
            return
        report = asyncio.create_task(_report_with_lags(text, fields, asked))
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)

    def gone(self, place: Place) -> None:
        """A queue is closed."""
        server = self._server(place)
        server.places.pop(place.component, None)
        server.away.discard(place.component)

    def _server(self, place: Place) -> _Server:
        return self._servers[place.server or place.component]

    def _warn(self, place: Place, server: _Server, now: float, text: str) -> None:
        if not server.trouble.is_due(now):
            return
        # Many clients put the server's name in front of their reason.
        text = text.replace(f"{server.subject}: ", "", 1)
        places = server.places.values() if place.server else [place]
        if place.server:
            text += _waiting(places) + (f"; to ask it: penstock check {place.file} --connect" if place.file else "")
        log.warning("%s: %s", server.subject, text, extra=_shared(places))


async def _report_with_lags(text: str, fields: Mapping[str, Any], lags: Mapping[str, Lag]) -> None:
    waits = []
    with suppress(Exception):  # a backend that cannot tell must not take the line with it
        async with asyncio.timeout(ASK_WITHIN):
            for queue, lag in lags.items():
                if (count := await lag()) is not None:
                    waits.append(f"{count:,} {'message waits' if count == 1 else 'messages wait'} in {queue!r}")
    log.warning("%s%s", text, "".join(f"; {each}" for each in waits), extra=fields)


def _waiting(places: Iterable[Place]) -> str:
    """`; queues 'orders' and 'rejects' of engine 'till' wait`."""
    by_engine: dict[str, list[str]] = {}
    for place in places:
        queues = by_engine.setdefault(place.fields.get("engine", ""), [])
        if (name := repr(place.fields.get("queue", place.label))) not in queues:
            queues.append(name)
    parts = [
        f"{'queue' if len(queues) == 1 else 'queues'} {_listed(queues)}" + (f" of engine {engine!r}" if engine else "")
        for engine, queues in by_engine.items()
    ]
    one = len(by_engine) == 1 and all(len(queues) == 1 for queues in by_engine.values())
    return f"; {_listed(parts)} {'waits' if one else 'wait'}"


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _shared(places: Iterable[Place]) -> dict[str, str | None]:
    """The fields that all these have in common; None keeps the place that reports it from being taken for all."""
    first, *others = (set(place.fields.items()) for place in places)
    return {"engine": None, "queue": None, "connector": None, **dict(first.intersection(*others))}


def _now() -> float:
    return asyncio.get_running_loop().time()
