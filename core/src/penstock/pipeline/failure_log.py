"""Reports failures in the log: a line for each kind of failure, and for one kind not more than one line a second."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.dead_letters import error_text
from penstock.events import Became, Ended, Event, Failed
from penstock.pipeline.settlement import Failure, Stage, StopEngine

if TYPE_CHECKING:
    from penstock.queues.queue import InputQueue

log = logging.getLogger("penstock")

REPORT_INTERVAL = 1.0  # seconds between two lines about the same kind of failure


_BECAME: Mapping[Became, str] = {
    "retried": "trying again in {delay:.1f} s",
    "held": "held back here for {delay:.1f} s, then requeued",
    "requeued": "requeued, to come again in {delay:.1f} s",
    "dead_lettered": "to the dead-letter queue",
    "skipped": "skipped, as on_invalid says",
    "late": "left to the consumer that has it now: its lease or partition was lost meanwhile",
    "unsettled": "left in its queue, because the engine ends first",
    "stopping": "the engine stops",
}
"""What became of a message that failed. It is reported once it is so, never before."""

Kind = tuple[Stage, type[BaseException], Became]


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
    """

    def __init__(self, app: str, source: InputQueue) -> None:
        self._app = app
        self._source = source
        self._quiet_until: dict[Kind, float] = {}
        self._pending: dict[Kind, _Failures] = {}

    def observe(self, event: Event) -> None:
        """Report what failed, and what is pending when the engine has ended."""
        if type(event) is Failed:
            self._report(event)
        elif type(event) is Ended:
            self._close()

    def _report(self, event: Failed) -> None:
        """Report what failed and what became of it, now or together with the next failure of its kind."""
        now = time.monotonic()
        for kind, group in _by_kind(event).items():
            if (pending := self._pending.pop(kind, None)) is not None:
                group = _Failures(pending.first, pending.delay, pending.count + group.count)
            if now < self._quiet_until.get(kind, 0.0):
                self._pending[kind] = group
            else:
                self._quiet_until[kind] = now + REPORT_INTERVAL
                self._write(kind, group)

    def _close(self) -> None:
        # A retry is left out: by now something else became of its message.
        for kind, group in self._pending.items():
            if kind[2] != "retried":
                self._write(kind, group)
        self._pending.clear()

    def _write(self, kind: Kind, group: _Failures) -> None:
        stage, error_type, became = kind
        first = group.first
        # The way into the user's code is worth its lines once the function is given up on.
        trace = stage == "function" and became in _GIVEN_UP and error_type is not StopEngine
        log.warning(
            "engine %r: %d %s failed at %s, the first at %s of %s, attempt %d: %s: %s; %s",
            self._app,
            group.count,
            "message" if group.count == 1 else "messages",
            stage,
            first.message.position or "?",
            self._source,
            first.message.attempts,
            error_type.__name__,
            error_text(first.error),
            _BECAME[became].format(delay=group.delay),
            exc_info=first.error if trace else None,
            extra={
                "engine": self._app,
                "queue": self._source.name,
                "position": first.message.position,
                "stage": stage,
                "attempt": first.message.attempts,
                "error_type": error_type.__name__,
                "count": group.count,
            },
        )


_GIVEN_UP = ("dead_lettered", "stopping", "unsettled")


def _by_kind(event: Failed) -> dict[Kind, _Failures]:
    groups: dict[Kind, list[Failure]] = defaultdict(list)
    for failure in event.failures:
        groups[failure.stage, type(failure.error), event.became].append(failure)
    return {kind: _Failures(group[0], event.delay, len(group)) for kind, group in groups.items()}
