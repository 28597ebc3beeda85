"""Sends messages behind the younger ones of their own queue, where the function raised `Retry(to="tail")`."""

from __future__ import annotations

from penstock.dead_letters import TRIES, attempts_of
from penstock.errors import FunctionError, Retry
from penstock.events import Failed, Observer, Settled
from penstock.message import QueueMessage, Record
from penstock.pipeline.outcomes import Group, Outcomes
from penstock.pipeline.settlement import Decision, Failure, Outcome
from penstock.pipeline.state import EngineState
from penstock.pipeline.strategy import Strategy
from penstock.queues.queue import OutputQueue


class Tail:
    """The input queue of one engine, as an output.

    A message is produced before it is settled, so that it is in the queue twice for a moment, and never not at all.

    Args:
        app: The engine's name.
        source: The input queue's name.
        queue: The same queue to send to; None if the engine has it not among its outputs.
        strategy: How records are stored and messages settled.
        observe: Told what becomes of messages.
        state: Whether the engine stops.
    """

    def __init__(
        self,
        app: str,
        source: str,
        queue: OutputQueue | None,
        strategy: Strategy,
        observe: Observer,
        state: EngineState,
    ) -> None:
        self._app = app
        self._source = source
        self._queue = queue
        self._strategy = strategy
        self._observe = observe
        self._state = state

    def check(self, failure: Failure) -> None:
        """Make a wish that cannot be fulfilled a failed call, whose error says what to do."""
        error = failure.error
        if self._queue is None and isinstance(error, Retry) and error.to == "tail":
            failure.error = FunctionError(
                f"the function raised Retry(to='tail'), and the engine does not write to its input queue; add it to "
                f"the outputs: Engine({self._source!r}, output_queues=[{self._source!r}, …])"
            )
            failure.error.__cause__ = error

    async def send(self, group: Group) -> Outcomes:
        """Send the messages of a group to the tail, and settle them. What the queue refuses is requeued."""
        queue, delay = self._queue, group.decision.delay
        assert queue is not None  # noqa: S101  (`check` saw one)
        held = delay > 0 and not queue.resolved.capabilities.record_delay
        if held:
            self._observe(Failed(self._app, group.failures, "held", delay))
            await self._state.pause(delay)
        records = [_again(failure.message, 0.0 if held else delay) for failure in group.failures]
        done = await self._strategy.store_dead_letters(queue, records, group.failures)
        stored, lost = ([each.message for each in some] for some in (done.stored, done.lost))
        if stored:
            if not held:
                self._observe(Failed(self._app, done.stored, "requeued", delay))
            self._observe(Settled(self._app, "requeued", stored, done.late))
        if lost:
            self._observe(Failed(self._app, done.lost, "late"))
            self._observe(Settled(self._app, "late", lost))
        outcomes = Outcomes(settled=lost, requeued=(stored, 0.0 if held else delay))
        if refused := [failure for failure, _error in done.refused]:
            decision = Decision(Outcome.REQUEUE, delay)
            outcomes.groups.append(Group(decision, [each.message for each in refused], refused))
        return outcomes


def _again(message: QueueMessage, delay: float) -> Record:
    headers = [pair for pair in message.headers if pair[0].lower() != TRIES]
    return Record(message.message, message.key, [*headers, (TRIES, b"%d" % attempts_of(message))], delay)
