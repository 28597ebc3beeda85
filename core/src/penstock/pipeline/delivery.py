"""At least once: send the outputs, wait for every confirmation, only then settle the inputs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from penstock.dead_letters import FORMS, Form, dead_letter, error_text
from penstock.errors import MessageError, PenstockError
from penstock.message import QueueMessage, Record
from penstock.observability.metrics import EngineMetrics
from penstock.pipeline.batch import Batch
from penstock.pipeline.failure_log import Became, FailureLog
from penstock.pipeline.settlement import Decision, Failure, Fate, OnInvalid, StopEngine, decide
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.retry import RetryPolicy

log = logging.getLogger("penstock")

T = TypeVar("T")


class Loop(Protocol):
    """What delivery asks of the loop that feeds it.

    Attributes:
        draining: The engine is to stop once its queue is empty.
    """

    draining: bool

    def settled(self, messages: Sequence[QueueMessage]) -> None:
        """These are in their final state, and no longer in flight."""

    def again(self, messages: Sequence[QueueMessage], delay: float) -> bool:
        """Try these once more after `delay` seconds; they stay in flight. False: not any more, the engine stops."""

    async def pause(self, delay: float) -> None:
        """Wait, but not past a stop."""

    def given_back(self, messages: Sequence[QueueMessage], delay: float) -> None:
        """These are no longer in flight, and will come again after `delay` seconds."""

    def stop_with(self, error: BaseException) -> None:
        """Stop the engine and raise this error from it."""


@dataclass(slots=True)
class Stored:
    """What became of some dead letters.

    Attributes:
        stored: Failures whose dead letter is in the queue.
        late: How many of their messages had been lost by the time they were to be settled.
        lost: Failures whose message had been lost before, so that no dead letter was stored.
        refused: Failures whose dead letter the queue will never take, and why.
    """

    stored: Sequence[Failure] = ()
    late: int = 0
    lost: list[Failure] = field(default_factory=list)
    refused: list[tuple[Failure, PenstockError]] = field(default_factory=list)


class AtLeastOnce:
    """Delivers batches.

    Every message is counted in one outcome, once its backend has confirmed it, and leaves the loop's table of what is
    in flight in the same step. What is still in that table when the engine ends was not settled.

    Args:
        app: The engine's name.
        source: The input queue.
        targets: Output queues by name, the dead-letter queue among them.
        dead_letters: The dead-letter queue, if the engine has one.
        policy: When a failed call is made again.
        on_invalid: What becomes of a message that is not valid, where there is no dead-letter queue.
        metrics: Bumped once a batch.
        loop: Told what becomes of the messages.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        app: str,
        source: InputQueue,
        targets: Mapping[str, OutputQueue],
        dead_letters: OutputQueue | None,
        policy: RetryPolicy,
        on_invalid: OnInvalid,
        metrics: EngineMetrics,
        loop: Loop,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._source = source
        self._targets = targets
        self._dead_letters = dead_letters
        self._policy = policy
        self._on_invalid: OnInvalid = on_invalid
        self._metrics = metrics
        self._loop = loop
        self._clock = clock
        self._log = FailureLog(app, source)

    async def deliver(self, batch: Batch) -> None:
        """Bring every message of a finished batch to its final state.

        If this dies on the way, by whatever, each input is settled, or is still with its broker.
        """
        if batch.outgoing:
            await self._send(batch)
        if batch.messages:
            await self._succeed(batch.messages)
        if batch.failures:
            await self._settle_failures(batch.failures)

    async def _send(self, batch: Batch) -> None:
        """Produce every record; an input one of whose outputs is refused for good becomes a failure."""
        columns = [(name, outgoing) for name, outgoing in batch.outgoing.items() if outgoing.records]
        if not columns:
            return  # of the only messages that had outputs, each failed at one
        started = time.perf_counter()
        if len(columns) == 1:
            answers = [await self._targets[columns[0][0]].produce(columns[0][1].records)]
        else:
            answers = await self._side_by_side(self._targets[name].produce(column.records) for name, column in columns)
        seconds = time.perf_counter() - started
        for (name, column), errors in zip(columns, answers, strict=True):
            refused = [(owner, error) for owner, error in zip(column.owners, errors, strict=False) if error is not None]
            self._metrics.produced(name, len(column.records) - len(refused))
            self._metrics.produce_time(name, seconds)
            for owner, error in refused:
                self._metrics.produce_failed(name, 1)
                self._refuse(batch, owner, error)

    def _refuse(self, batch: Batch, owner: QueueMessage | None, error: PenstockError) -> None:
        whose = batch.messages if owner is None else [owner]
        batch.failures += [Failure(message, "produce", error) for message in whose if message in batch.messages]
        batch.drop(set(whose))

    async def _succeed(self, messages: Sequence[QueueMessage]) -> None:
        late = await self._source.on_success(messages)
        self._metrics.succeeded(len(messages) - late)
        self._end(messages, late)
        first = messages[0].timestamp
        if first is not None:
            self._metrics.end_to_end(max(0.0, self._clock() - first))

    def _end(self, messages: Sequence[QueueMessage], late: int = 0) -> None:
        """Let go of messages that are counted as what became of them; `late` of them are counted here."""
        if late:
            self._metrics.late_settlements(late)
        self._loop.settled(messages)

    async def _settle_failures(self, failures: Sequence[Failure]) -> None:
        by_decision: dict[Decision, list[Failure]] = defaultdict(list)
        for failure in failures:
            decision = decide(
                failure,
                policy=self._policy,
                dead_letters=self._dead_letters is not None,
                on_invalid=self._on_invalid,
                draining=self._loop.draining,
            )
            by_decision[decision].append(failure)
        self._count(failures)
        # Side by side: a group that waits before it is given back must not hold up the dead letters.
        await self._side_by_side(self._settle_group(decision, group) for decision, group in by_decision.items())

    async def _side_by_side(self, works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Do all of it at once. If one fails the engine stops, but the others finish what they began."""
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                if (error := task.exception()) is not None:
                    self._loop.stop_with(error)
            if pending:
                await asyncio.wait(pending)
        finally:
            # Out of patience: nothing may be under way when the queues are closed.
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return [task.result() for task in tasks]

    async def _settle_group(self, decision: Decision, group: Sequence[Failure]) -> None:
        messages = [failure.message for failure in group]
        match decision.fate:
            case Fate.RETRY:
                self._retry(group, decision.delay)
            case Fate.REQUEUE:
                await self._requeue(messages, decision.delay, group)
            case Fate.SKIP:
                with self._left_unless_done(group):
                    late = await self._source.on_success(messages)
                self._log.tell(Became.SKIPPED, group)
                self._metrics.skipped(len(messages) - late)
                self._end(messages, late)
            case Fate.DEAD_LETTER:
                await self._bury(group)
            case Fate.STOP:
                self._log.tell(Became.STOPPING, group)
                self._loop.stop_with(self._stopping_error(group[0]))

    def _retry(self, group: Sequence[Failure], delay: float) -> None:
        messages = [failure.message for failure in group]
        if not self._loop.again(messages, delay):
            self._log.tell(Became.LEFT, group)
            return
        self._log.tell(Became.RETRIED, group, delay)
        self._metrics.retried(len(messages))
        for message in messages:
            message.attempts += 1

    async def give_back(self, messages: Sequence[QueueMessage]) -> None:
        """Give back what was not begun, at once."""
        await self._requeue(messages, 0.0)

    async def _requeue(self, messages: Sequence[QueueMessage], delay: float, failures: Sequence[Failure] = ()) -> None:
        """Give messages back; `failures` are why, if the log has not said so yet."""
        became = Became.REQUEUED
        with self._left_unless_done(failures):
            if not self._source.resolved.capabilities.delay:
                # The connector gives it back at once; only waiting here keeps that from being a hot loop.
                if delay > 0:
                    became = Became.HELD
                    self._log.tell(became, failures, delay)
                await self._loop.pause(delay)
                delay = 0.0
            late = await self._source.on_fail(messages, delay)
        if became is Became.REQUEUED:
            self._log.tell(became, failures, delay)
        self._metrics.requeued(len(messages) - late)
        if late:
            self._metrics.late_settlements(late)
        self._loop.given_back(messages, delay)

    @contextmanager
    def _left_unless_done(self, failures: Sequence[Failure]) -> Iterator[None]:
        """Say of failures that their messages are left, if the engine ends before anything else became of them."""
        try:
            yield
        except BaseException:
            self._log.tell(Became.LEFT, failures)
            raise

    async def _bury(self, failures: Sequence[Failure]) -> None:
        """Dead letters are outputs like any other: the input is settled once they are confirmed.

        One that the queue refuses, as too large, is tried with less of what was added to the message, down to the
        message as it came. What is refused even so is given back: it is not lost, and waits as long as a retry may.
        """
        refused: list[tuple[Failure, PenstockError]] = []
        for form in FORMS:
            with self._left_unless_done(failures):
                done = await self._store(failures, form)
            self._tell_stored(done, form, refused)
            refused = done.refused
            if not refused:
                return
            failures = [failure for failure, _error in refused]
        failure, error = refused[0]
        size = len(failure.message.message or b"")
        log.error(
            "engine %r: %d messages can be neither processed nor dead-lettered and stay in their queue, the first at "
            "%s of %s, with a body of %d bytes: %s; raise the limit of the dead-letter queue, or name one that takes "
            "them",
            self._app,
            len(failures),
            failure.message.position or "?",
            self._source,
            size,
            error,
        )
        if self._loop.draining:
            # Given back, it would come again for ever, and the queue would never be empty.
            self._log.tell(Became.STOPPING, failures)
            self._loop.stop_with(self._stopping_error(failure, f"Its dead letter is refused too: {error}"))
            return
        await self._requeue([failure.message for failure in failures], self._policy.max_delay, failures)

    async def _store(self, failures: Sequence[Failure], form: Form) -> Stored:
        """Store dead letters in one form, and settle the inputs of those that are stored."""
        queue = self._dead_letters
        assert queue is not None  # noqa: S101  (decide() saw one)
        records = [
            dead_letter(
                failure.message,
                stage=failure.stage,
                error=failure.error,
                attempts=failure.message.attempts,
                queue=self._source.resolved.value,
                app=self._app,
                now=self._clock(),
                form=form,
            )
            for failure in failures
        ]
        return await self._store_dead_letters(queue, records, failures)

    async def _store_dead_letters(
        self, queue: OutputQueue, records: Sequence[Record], failures: Sequence[Failure]
    ) -> Stored:
        errors = await queue.produce(records) or [None] * len(records)
        answers = list(zip(failures, errors, strict=True))
        stored = [failure for failure, error in answers if error is None]
        late = await self._source.on_success([failure.message for failure in stored]) if stored else 0
        return Stored(stored, late, refused=[(failure, error) for failure, error in answers if error is not None])

    def _tell_stored(self, done: Stored, form: Form, refused: Sequence[tuple[Failure, PenstockError]]) -> None:
        """Count and log what became of dead letters, and let go of their messages."""
        self._log.tell(Became.DEAD_LETTERED, done.stored)
        self._log.tell(Became.LATE, done.lost)
        if done.stored and refused:
            log.warning(
                "engine %r: %d dead letters are stored with %s, the first of %s at %s, because the queue refused them "
                "with all that belongs to a dead letter: %s",
                self._app,
                len(done.stored),
                form.value,
                self._source,
                done.stored[0].message.position or "?",
                refused[0][1],
            )
        late = done.late
        for stage, count in Counter(failure.stage for failure in done.stored).items():
            self._metrics.dead_lettered(count, stage, min(late, count))
            late = max(0, late - count)
        messages = [failure.message for failure in (*done.stored, *done.lost)]
        if messages:
            self._end(messages, done.late + len(done.lost))

    def _count(self, failures: Sequence[Failure]) -> None:
        for failure in failures:
            if failure.stage in ("function", "output"):
                self._metrics.function_failed(1, type(failure.error).__name__)

    def close(self) -> None:
        """Say what was not said yet: the engine ends."""
        self._log.end()

    def _stopping_error(self, failure: Failure, why: str = "") -> PenstockError:
        error = failure.error
        if isinstance(error, StopEngine):
            return PenstockError(f"engine {self._app!r}, {self._source}: {error}")
        text = str(error) if isinstance(error, PenstockError) else f"{type(error).__name__}: {error_text(error)}"
        if not why:
            why = "Give the engine a dead_letter_queue; "
            if failure.stage in ("decode", "validate"):
                why += "or set on_invalid: skip to pass over such messages"
            else:
                why += f"it was tried {failure.message.attempts} times"
        kind = type(error) if isinstance(error, MessageError) else PenstockError
        return kind(
            f"engine {self._app!r}, {self._source}, message at {failure.message.position or '?'}: {text}. "
            f"It stays in its queue. {why}"
        )
