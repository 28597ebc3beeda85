"""Says in the log what failed: a line for each kind of failure, and for one kind not more than one a second."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from penstock.dead_letters import error_text
from penstock.pipeline.settlement import Failure, Stage, StopEngine

log = logging.getLogger("penstock")

SAID_EVERY = 1.0  # seconds between two lines about the same kind of failure


class Became(Enum):
    """What became of a message that failed, in the words of the log. It is told once it is so, never before."""

    RETRIED = "trying again in {delay:.1f} s"
    HELD = "held back here for {delay:.1f} s, then given back"
    REQUEUED = "given back, to come again in {delay:.1f} s"
    DEAD_LETTERED = "to the dead-letter queue"
    SKIPPED = "skipped, as on_invalid says"
    LATE = "left to whoever has it now: its lease or partition was lost meanwhile"
    LEFT = "left in its queue, because the engine ends first"
    STOPPING = "the engine stops"


Kind = tuple[Stage, type[BaseException], Became]


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

    def tell(self, became: Became, failures: Sequence[Failure], delay: float = 0.0) -> None:
        """Say what failed and what became of it, now or with the next of its kind."""
        now = time.monotonic()
        for kind, told in _by_kind(became, failures, delay).items():
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
            if kind[2] is not Became.RETRIED:
                self._say(kind, told)
        self._unsaid.clear()

    def _say(self, kind: Kind, told: _Told) -> None:
        stage, error_type, became = kind
        first = told.first
        what = became.value.format(delay=told.delay)
        # The way into the user's code is worth its lines once the function is given up on.
        trace = stage == "function" and became in _GIVEN_UP and error_type is not StopEngine
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


_GIVEN_UP = (Became.DEAD_LETTERED, Became.STOPPING, Became.LEFT)


def _by_kind(became: Became, failures: Sequence[Failure], delay: float) -> dict[Kind, _Told]:
    groups: dict[Kind, list[Failure]] = defaultdict(list)
    for failure in failures:
        groups[failure.stage, type(failure.error), became].append(failure)
    return {kind: _Told(group[0], group[0].message.attempts, delay, len(group)) for kind, group in groups.items()}
