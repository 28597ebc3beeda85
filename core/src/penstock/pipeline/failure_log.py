"""Reports failures in the log: the first of each kind with all that is known, further ones as a number a minute."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from penstock.dead_letters import error_text, own_id
from penstock.events import Became, Ended, Event, Failed
from penstock.observability.frames import place_of, without_ours
from penstock.pipeline.settlement import Failure, Stage, StopEngine

if TYPE_CHECKING:
    from penstock.queues.queue import InputQueue, OutputQueue

log = logging.getLogger("penstock")

COUNT_INTERVAL = 60.0  # seconds for which failures of a known kind are counted before a line says how many
MOST_KINDS = 1_000  # that are remembered; code that is made as it runs has places without end


_BECAME: Mapping[Became, str] = {
    "retried": "trying again in {delay:.1f} s",
    "held": "held back here for {delay:.1f} s, then requeued",
    "requeued": "requeued, to come again in {delay:.1f} s",
    "dead_lettered": "to the dead-letter queue{letters}",
    "skipped": "skipped, as {rule} says",
    "late": "left to the consumer that has it now: its lease or partition was lost meanwhile",
    "unsettled": "left in its queue, because the engine ends first",
    "stopping": "the engine stops",
}
"""What became of a message that failed. It is reported once it is so, never before."""

Kind = tuple[Stage, type[BaseException], str, Became]
"""Where it failed, with what error, raised at which line of the program, and what became of it."""


@dataclass(frozen=True, slots=True)
class _Failures:
    """Failures of one kind.

    Attributes:
        first: One of them, as the example.
        delay: Seconds until its message is tried again, or comes again.
        count: How many there are.
    """

    first: Failure
    delay: float
    count: int


class FailureLog:
    """Reports the failures of one engine. A line never shows a message's body.

    Args:
        app: The engine's name.
        source: Its input queue.
        letters: Its dead-letter queue.
    """

    def __init__(self, app: str, source: InputQueue, letters: OutputQueue | None = None) -> None:
        self._app = app
        self._source = source
        self._letters = "" if letters is None else f" {letters.name!r}"
        self._to_type = "" if letters is None else _list_command(letters)
        self._known: dict[Kind, None] = {}
        self._counted: dict[Kind, _Failures] = {}
        self._timer: asyncio.TimerHandle | None = None

    def observe(self, event: Event) -> None:
        """Report what failed, and what was counted when the engine has ended."""
        if type(event) is Failed:
            self._report(event)
        elif type(event) is Ended:
            self._close()

    def _report(self, event: Failed) -> None:
        """Report what failed and what became of it, or count it if that kind is known."""
        for kind, group in _by_kind(event).items():
            if kind not in self._known:
                if len(self._known) >= MOST_KINDS:
                    del self._known[next(iter(self._known))]
                self._known[kind] = None
                self._write_first(kind, group)
                continue
            if (before := self._counted.get(kind)) is not None:
                group = _Failures(before.first, before.delay, before.count + group.count)
            self._counted[kind] = group
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(COUNT_INTERVAL, self._write_counts)

    def _write_counts(self) -> None:
        self._timer = None
        for kind, group in self._counted.items():
            self._write(kind, group, " in the last minute")
        self._counted.clear()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # A retry is left out: by now something else became of its message.
        for kind, group in self._counted.items():
            if kind[3] != "retried":
                self._write(kind, group, " until the end")
        self._counted.clear()

    def _write_first(self, kind: Kind, group: _Failures) -> None:
        stage, error_type, _place, became = kind
        error = group.first.error
        # The way into the program is worth its lines once the function is given up on.
        if stage == "function" and became in _GIVEN_UP and error_type is not StopEngine:
            self._write(kind, group, "", (error_type, error, without_ours(error.__traceback__)))
        else:
            self._write(kind, group, "")

    def _write(self, kind: Kind, group: _Failures, when: str, trace: _Trace | None = None) -> None:
        stage, error_type, place, became = kind
        first = group.first
        what = f"{'more ' if when else ''}{'message' if group.count == 1 else 'messages'}"
        rule = "on_invalid" if stage in ("decode", "validate") else "on_failed"
        to_type = self._to_type if became == "dead_lettered" and not when else ""
        log.warning(
            "engine %r: %d %s failed at %s%s, the first at %s of %s, attempt %d: %s: %s; %s%s%s",
            self._app,
            group.count,
            what,
            stage,
            when,
            first.message.position or "?",
            self._source,
            first.message.attempts,
            error_type.__name__,
            error_text(first.error),
            _BECAME[became].format(delay=group.delay, letters=self._letters, rule=rule),
            f" ({place})" if place else "",
            to_type,
            exc_info=trace,
            extra={
                "engine": self._app,
                "queue": self._source.name,
                "position": first.message.position,
                "stage": stage,
                "attempt": first.message.attempts,
                "penstock_id": own_id(first.message.headers) or None,
                "error_type": error_type.__name__,
                "count": group.count,
            },
        )


_GIVEN_UP = ("dead_lettered", "stopping", "unsettled")
_Trace = tuple[type[BaseException], BaseException, TracebackType | None]


def _by_kind(event: Failed) -> dict[Kind, _Failures]:
    groups: dict[Kind, list[Failure]] = defaultdict(list)
    for failure in event.failures:
        place = place_of(failure.error.__traceback__) if failure.stage == "function" else ""
        groups[failure.stage, type(failure.error), place, event.became].append(failure)
    return {kind: _Failures(group[0], event.delay, len(group)) for kind, group in groups.items()}


def _list_command(letters: OutputQueue) -> str:
    """What to type in another shell to see dead letters; "" where that is not possible."""
    file = letters.resolved.location.partition(":")[0]
    if not file or not letters.server or not letters.resolved.capabilities.browse:
        return ""
    return f"; to see them: penstock dead-letters {shlex.join([file, letters.name])} list"
