"""At least once: send the outputs, wait for every confirmation, only then settle the inputs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from penstock.dead_letters import dead_letter, error_text
from penstock.errors import MessageError, PenstockError
from penstock.message import QueueMessage, Record
from penstock.metrics import EngineMetrics
from penstock.pipeline.batch import Batch
from penstock.pipeline.failure_log import FailureLog
from penstock.queues import InputQueue, OutputQueue
from penstock.retry import RetryPolicy
from penstock.settlement import Decision, Failure, Fate, OnInvalid, StopEngine, decide

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

    def again(self, messages: Sequence[QueueMessage], delay: float) -> None:
        """Try these once more after `delay` seconds; they stay in flight."""

    async def pause(self, delay: float) -> None:
        """Wait, but not past a stop."""

    def given_back(self, messages: Sequence[QueueMessage], delay: float) -> None:
        """These are no longer in flight, and will come again after `delay` seconds."""

    def stop_with(self, error: BaseException) -> None:
        """Stop the engine and raise this error from it."""


class AtLeastOnce:
    """Delivers batches.

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
        self._loop.settled(messages)
        self._metrics.succeeded(len(messages) - late)
        if late:
            self._metrics.late_settlements(late)
        first = messages[0].timestamp
        if first is not None:
            self._metrics.end_to_end(max(0.0, self._clock() - first))

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
        self._log.tell(by_decision.items())
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
                self._metrics.retried(len(messages))
                for message in messages:
                    message.attempts += 1
                self._loop.again(messages, decision.delay)
            case Fate.REQUEUE:
                await self._requeue(messages, decision.delay)
            case Fate.SKIP:
                self._metrics.skipped(len(messages))
                await self._source.on_success(messages)
                self._loop.settled(messages)
            case Fate.DEAD_LETTER:
                await self._bury(group)
            case Fate.STOP:
                self._metrics.left(len(messages))
                self._loop.stop_with(self._stopping_error(group[0]))

    async def _requeue(self, messages: Sequence[QueueMessage], delay: float) -> None:
        self._metrics.requeued(len(messages))
        if not self._source.resolved.capabilities.delay:
            # The connector gives it back at once; only waiting here keeps that from being a hot loop.
            await self._loop.pause(delay)
            delay = 0.0
        await self._source.on_fail(messages, delay)
        self._loop.given_back(messages, delay)

    async def _bury(self, failures: Sequence[Failure]) -> None:
        """Dead letters are outputs like any other: the input is settled once they are confirmed."""
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
            )
            for failure in failures
        ]
        errors = await self._store_dead_letters(queue, records, failures)
        buried = [failure for failure, error in zip(failures, errors, strict=True) if error is None]
        unburied = [(failure, error) for failure, error in zip(failures, errors, strict=True) if error is not None]
        for failure in buried:
            self._metrics.dead_lettered(1, failure.stage)
        if buried:
            self._loop.settled([failure.message for failure in buried])
        if unburied:
            failure, error = unburied[0]
            if self._loop.draining:
                # Given back, it would come again for ever, and the queue would never be empty.
                self._loop.stop_with(self._stopping_error(failure, f"Its dead letter is refused too: {error}"))
                return
            log.error(
                "engine %r: %d messages can be neither processed nor dead-lettered and are given back, the first at %s "
                "of %s: %s",
                self._app,
                len(unburied),
                failure.message.position or "?",
                self._source,
                error,
            )
            await self._requeue([failure.message for failure, _ in unburied], self._policy.max_delay)

    async def _store_dead_letters(
        self, queue: OutputQueue, records: Sequence[Record], failures: Sequence[Failure]
    ) -> Sequence[PenstockError | None]:
        """Store what `_bury` made, and settle the inputs whose dead letter is stored; why not, one entry a record."""
        errors = await queue.produce(records) or [None] * len(records)
        buried = [failure.message for failure, error in zip(failures, errors, strict=True) if error is None]
        if buried:
            await self._source.on_success(buried)
        return errors

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
