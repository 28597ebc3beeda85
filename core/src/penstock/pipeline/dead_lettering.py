"""Stores dead letters. They are outputs like any other: the input is settled once they are confirmed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from penstock.dead_letters import FORMS, attempts_of, dead_letter, own_id
from penstock.errors import GivenUp
from penstock.events import Failed, Observer, Settled
from penstock.message import QueueMessage
from penstock.pipeline.outcomes import Group
from penstock.pipeline.settlement import Decision, Outcome
from penstock.pipeline.state import EngineState
from penstock.pipeline.strategy import Stored, Strategy
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.retry import RetryPolicy

log = logging.getLogger("penstock")


class DeadLetters:
    """The dead-letter queue of one engine.

    A dead letter that the queue refuses, as too large, is tried with less of what was added to the message, down to the
    message as it came. What the queue refuses even so is requeued: it is not lost, and waits as long as a retry may.

    Args:
        app: The engine's name.
        source: The input queue.
        queue: The dead-letter queue.
        strategy: How records are stored and messages settled.
        policy: Says how long a message waits that cannot be dead-lettered.
        observe: Told what becomes of messages.
        state: Whether the engine drains.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        app: str,
        source: InputQueue,
        queue: OutputQueue,
        strategy: Strategy,
        policy: RetryPolicy,
        observe: Observer,
        state: EngineState,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._source = source
        self._queue = queue
        self._strategy = strategy
        self._policy = policy
        self._observe = observe
        self._state = state
        self._clock = clock

    async def store(self, group: Group) -> tuple[Sequence[QueueMessage], Group | None]:
        """Store the dead letters of a group in the group's form.

        Returns:
            The messages that are settled, and what is to be done with those whose dead letter was refused.
        """
        records = [
            dead_letter(
                failure.message,
                stage=failure.stage,
                error=failure.error,
                attempts=attempts_of(failure.message),
                queue=self._source.resolved.value,
                app=self._app,
                now=self._clock(),
                form=group.form,
            )
            for failure in group.failures
        ]
        done = await self._strategy.store_dead_letters(self._queue, records, group.failures)
        self._report(done, group)
        return [failure.message for failure in (*done.stored, *done.lost)], self._next(done, group)

    def _report(self, done: Stored, group: Group) -> None:
        if done.stored:
            self._observe(Failed(self._app, done.stored, "dead_lettered"))
        if done.lost:
            self._observe(Failed(self._app, done.lost, "late"))
            self._observe(Settled(self._app, "late", [failure.message for failure in done.lost]))
        if done.stored and group.refusal is not None:
            log.warning(
                "engine %r: %d dead letters are stored with %s, the first of %s at %s, because the queue refused them "
                "with all that belongs to a dead letter: %s",
                self._app,
                len(done.stored),
                group.form.value,
                self._source,
                done.stored[0].message.position or "?",
                group.refusal,
                extra=self._fields(done.stored[0].message, len(done.stored)),
            )
        late = done.late
        for stage in dict.fromkeys(failure.stage for failure in done.stored):
            messages = [failure.message for failure in done.stored if failure.stage == stage]
            self._observe(Settled(self._app, "dead_lettered", messages, min(late, len(messages)), stage))
            late = max(0, late - len(messages))

    def _next(self, done: Stored, group: Group) -> Group | None:
        """What is to be done with messages whose dead letter was refused in this form."""
        if not done.refused:
            return None
        failures = [failure for failure, _refusal in done.refused]
        rest = replace(
            group,
            messages=[failure.message for failure in failures],
            failures=failures,
            refusal=done.refused[0][1],
        )
        # Where the queue's `retry` is used up, its backend is away: less of the message would not be taken either.
        if group.form is not FORMS[-1] and not isinstance(rest.refusal, GivenUp):
            rest.form = FORMS[FORMS.index(group.form) + 1]
            return rest
        self._report_refused(rest)
        # While the engine drains, a requeued message would come again for ever, and the queue would never be empty.
        rest.decision = (
            Decision(Outcome.STOP) if self._state.draining else Decision(Outcome.REQUEUE, self._policy.max_delay)
        )
        return rest

    def _report_refused(self, group: Group) -> None:
        first = group.messages[0]
        log.error(
            "engine %r: %d messages can be neither processed nor dead-lettered and stay in their queue, the first at "
            "%s of %s, with a body of %d bytes: %s; raise the limit of the dead-letter queue, or name one that takes "
            "them",
            self._app,
            len(group.messages),
            first.position or "?",
            self._source,
            len(first.message or b""),
            group.refusal,
            extra=self._fields(first, len(group.messages)),
        )

    def _fields(self, first: QueueMessage, count: int) -> dict[str, object]:
        """What a log record carries beside its text."""
        return {
            "engine": self._app,
            "queue": self._source.name,
            "position": first.position,
            "attempt": first.attempts,
            "penstock_id": own_id(first.headers) or None,
            "count": count,
        }
