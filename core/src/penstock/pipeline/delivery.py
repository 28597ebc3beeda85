"""Brings every message of a batch to its final state, and returns what became of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from penstock.dead_letters import error_text
from penstock.errors import MessageError, PenstockError
from penstock.events import Became, Failed, Observer, Settled
from penstock.message import QueueMessage
from penstock.pipeline.batch import Batch
from penstock.pipeline.dead_lettering import DeadLetters
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.outcomes import Group, Outcomes
from penstock.pipeline.settlement import Decision, Failure, OnFailed, OnInvalid, Outcome, StopEngine, decide
from penstock.pipeline.state import EngineState
from penstock.pipeline.strategy import Delivered, Strategy
from penstock.pipeline.tail import Tail
from penstock.queues.queue import InputQueue
from penstock.retry import RetryPolicy


class Delivery:
    """Delivers the batches of one engine.

    Each call asks a backend once, counts every message that reached an outcome when the backend has confirmed it, and
    returns. The loop takes these messages out of its table in the same step of the event loop, so whatever is still in
    the table when the engine ends is not settled.

    Args:
        app: The engine's name.
        source: The input queue.
        strategy: At least once, or exactly once.
        dead_letters: Stores dead letters; None if the engine has no dead-letter queue.
        tail: Sends messages behind the younger ones.
        policy: When a failed call is made again.
        on_invalid: What becomes of a message that is not valid, where there is no dead-letter queue.
        on_failed: What becomes, there, of one whose attempts are used up.
        in_flight: Knows the connector's messages.
        observe: Told what becomes of messages, once a batch.
        state: Whether the engine stops or drains.
    """

    def __init__(
        self,
        app: str,
        source: InputQueue,
        strategy: Strategy,
        dead_letters: DeadLetters | None,
        tail: Tail,
        policy: RetryPolicy,
        on_invalid: OnInvalid,
        on_failed: OnFailed,
        in_flight: InFlight,
        observe: Observer,
        state: EngineState,
    ) -> None:
        self._app = app
        self._source = source
        self._strategy = strategy
        self._dead_letters = dead_letters
        self._tail = tail
        self._policy = policy
        self._on_invalid: OnInvalid = on_invalid
        self._on_failed: OnFailed = on_failed
        self._in_flight = in_flight
        self._observe = observe
        self._state = state

    async def deliver(self, batch: Batch) -> Outcomes:
        """Send the outputs of a batch, settle its inputs, and decide what becomes of those that failed."""
        outcomes = Outcomes()
        if batch.messages:
            self._count(await self._strategy.deliver(batch), outcomes)
        if batch.failures:
            failures, batch.failures = batch.failures, []
            self._decide(failures, outcomes)
        return outcomes

    async def settle_failures(self, group: Group) -> Outcomes:
        """Carry out a decision that needs a backend."""
        with self._unsettled_unless_done(group.failures):
            match group.decision.outcome:
                case Outcome.REQUEUE:
                    return await self._requeue(group)
                case Outcome.SKIP:
                    return await self._skip(group)
                case Outcome.TAIL:
                    return await self._tail.send(group)
                case _:
                    return await self._store_dead_letters(group)

    async def requeue(self, messages: Sequence[QueueMessage]) -> Outcomes:
        """Requeue messages that were not started, at once."""
        return await self._requeue(Group(Decision(Outcome.REQUEUE), messages))

    def _count(self, delivered: Delivered, outcomes: Outcomes) -> None:
        settled, lost = delivered.settled, delivered.lost
        if settled:
            self._observe(Settled(self._app, "succeeded", settled, delivered.late))
        if lost:
            self._observe(Settled(self._app, "late", lost))
        outcomes.settled = [*settled, *lost] if lost else settled
        outcomes.rest = delivered.rest
        if delivered.requeue:
            outcomes.groups.append(Group(Decision(Outcome.REQUEUE), delivered.requeue))

    def _decide(self, failures: Sequence[Failure], outcomes: Outcomes) -> None:
        by_decision: dict[Decision, list[Failure]] = defaultdict(list)
        for failure in failures:
            self._tail.check(failure)
            decision = decide(
                failure,
                policy=self._policy,
                dead_letters=self._dead_letters is not None,
                on_invalid=self._on_invalid,
                on_failed=self._on_failed,
                draining=self._state.draining,
            )
            by_decision[decision].append(failure)
        for decision, group in by_decision.items():
            match decision.outcome:
                case Outcome.RETRY:
                    self._retry(group, decision.delay, outcomes)
                case Outcome.STOP:
                    self._failed(group, "stopping")
                    outcomes.stop = outcomes.stop or self._stopping_error(group[0])
                case _:
                    outcomes.groups.append(Group(decision, [failure.message for failure in group], group))

    def _retry(self, failures: Sequence[Failure], delay: float, outcomes: Outcomes) -> None:
        if self._state.stopping:
            self._failed(failures, "unsettled")
            return
        self._failed(failures, "retried", delay)
        outcomes.retry.append(([failure.message for failure in failures], delay))

    async def _requeue(self, group: Group) -> Outcomes:
        messages, delay = group.messages, group.decision.delay
        held = delay > 0 and not self._source.resolved.capabilities.requeue_delay
        if held:
            # The connector would deliver it again at once; the wait here keeps that from being a hot loop.
            self._failed(group.failures, "held", delay)
            await self._state.pause(delay)
            delay = 0.0
        late = await self._strategy.requeue(messages, delay)
        if not held:
            self._failed(group.failures, "requeued", delay)
        self._observe(Settled(self._app, "requeued", messages, late))
        return Outcomes(requeued=(messages, delay))

    async def _skip(self, group: Group) -> Outcomes:
        late = await self._strategy.settle(group.messages)
        self._failed(group.failures, "skipped")
        self._observe(Settled(self._app, "skipped", group.messages, late))
        return Outcomes(settled=group.messages)

    def _failed(self, failures: Sequence[Failure], became: Became, delay: float = 0.0) -> None:
        if failures:
            self._observe(Failed(self._app, failures, became, delay))

    async def _store_dead_letters(self, group: Group) -> Outcomes:
        assert self._dead_letters is not None  # noqa: S101  (decide() saw one)
        settled, refused = await self._dead_letters.store(group)
        outcomes = Outcomes(settled=settled)
        if refused is None:
            return outcomes
        if refused.decision.outcome is Outcome.STOP:
            self._failed(refused.failures, "stopping")
            why = f"Its dead letter is refused too: {refused.refusal}"
            outcomes.stop = self._stopping_error(refused.failures[0], why)
        else:
            outcomes.groups.append(refused)
        return outcomes

    @contextmanager
    def _unsettled_unless_done(self, failures: Sequence[Failure]) -> Iterator[None]:
        """Report messages as unsettled if the engine ends before anything else became of them."""
        try:
            yield
        except BaseException:
            self._failed(failures, "unsettled")
            raise

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
