"""Says in the log what failed: a line for each kind of failure, and for one kind not more than one a second."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.dead_letters import error_text
from penstock.settlement import Decision, Failure, Fate, Stage, StopEngine

log = logging.getLogger("penstock")

SAID_EVERY = 1.0  # seconds between two lines about the same kind of failure

Kind = tuple[Stage, type[BaseException], Fate]


@dataclass(frozen=True, slots=True)
class _Told:
    """Failures of one kind.

    Attributes:
        first: One of them, to speak of.
        attempt: Which try of that message it was: the message goes on counting.
        delay: Seconds until it is tried again, or comes again.
        count: How many there are.
    """

    first: Failure
    attempt: int
    delay: float
    count: int


class FailureLog:
    """What one engine has to say about failures. A line never shows a message's body.

    Args:
        app: The engine's name.
        source: What errors call its input queue.
    """

    def __init__(self, app: str, source: object) -> None:
        self._app = app
        self._source = source
        self._quiet_until: dict[Kind, float] = {}
        self._unsaid: dict[Kind, _Told] = {}

    def tell(self, decided: Iterable[tuple[Decision, Sequence[Failure]]]) -> None:
        """Say what failed and what becomes of it, now or with the next of its kind."""
        now = time.monotonic()
        for kind, told in _by_kind(decided).items():
            if (unsaid := self._unsaid.pop(kind, None)) is not None:
                told = _Told(unsaid.first, unsaid.attempt, unsaid.delay, unsaid.count + told.count)
            if now < self._quiet_until.get(kind, 0.0):
                self._unsaid[kind] = told
            else:
                self._quiet_until[kind] = now + SAID_EVERY
                self._say(kind, told)

    def end(self) -> None:
        """Say what was not said yet: the engine ends. Not what was tried again: by now something else became of it."""
        for kind, told in self._unsaid.items():
            if kind[2] is not Fate.RETRY:
                self._say(kind, told)
        self._unsaid.clear()

    def _say(self, kind: Kind, told: _Told) -> None:
        stage, error_type, fate = kind
        first = told.first
        what = {
            Fate.RETRY: f"trying again in {told.delay:.1f} s",
            Fate.REQUEUE: f"given back, to come again in {told.delay:.1f} s",
            Fate.DEAD_LETTER: "to the dead-letter queue",
            Fate.SKIP: "skipped, as on_invalid says",
            Fate.STOP: "the engine stops",
        }[fate]
        # The way into the user's code is worth its lines once the function is given up on.
        trace = stage == "function" and fate in (Fate.DEAD_LETTER, Fate.STOP) and error_type is not StopEngine
        log.warning(
            "engine %r: %d %s failed at %s, the first at %s of %s, attempt %d: %s: %s; %s",
            self._app,
            told.count,
            "message" if told.count == 1 else "messages",
            stage,
            first.message.position or "?",
            self._source,
            told.attempt,
            error_type.__name__,
            error_text(first.error),
            what,
            exc_info=first.error if trace else None,
        )


def _by_kind(decided: Iterable[tuple[Decision, Sequence[Failure]]]) -> dict[Kind, _Told]:
    groups: dict[Kind, list[tuple[Failure, float]]] = defaultdict(list)
    for decision, failures in decided:
        for failure in failures:
            groups[failure.stage, type(failure.error), decision.fate].append((failure, decision.delay))
    return {
        kind: _Told(group[0][0], group[0][0].message.attempts, group[0][1], len(group))
        for kind, group in groups.items()
    }
