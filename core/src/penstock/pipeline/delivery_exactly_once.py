"""Exactly once: outputs are stored and inputs settled in one transaction of the backend that they share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from penstock.errors import CapabilityError, ProduceError
from penstock.message import QueueMessage, Record
from penstock.pipeline.batch import Batch, Outgoing
from penstock.pipeline.delivery import AtLeastOnce, Stored
from penstock.pipeline.settlement import Failure
from penstock.queues.queue import InputQueue, OutputQueue

Columns = Sequence[tuple[str, Outgoing]]


class ExactlyOnce(AtLeastOnce):
    """Delivers batches, each in a transaction. What fails is treated as in `AtLeastOnce`; its dead letters, too, are
    stored in one transaction with the settlement of their inputs."""

    async def deliver(self, batch: Batch) -> None:
        """Bring every message of a finished batch to its final state.

        If this dies on the way, by whatever, each input is settled and its outputs are stored, or neither.
        """
        while batch.messages and not await self._transact(batch):
            pass  # some were lost or refused, and are out of the batch now; the rest is tried again
        if batch.failures:
            await self._settle_failures(batch.failures)

    async def _transact(self, batch: Batch) -> bool:
        """Try the whole batch; whether it is settled."""
        columns = [(name, outgoing) for name, outgoing in batch.outgoing.items() if outgoing.records]
        if not columns:
            await self._succeed(batch.messages)
            return True
        started = time.perf_counter()
        done = await self._source.transact(
            batch.messages, [(self._targets[name], outgoing.records) for name, outgoing in columns]
        )
        if not done.committed:
            # Whose they are is looked up before anything leaves the columns, and the positions with it.
            refused = [(columns[each.output], each) for each in done.refused]
            owners = [(outgoing.owners[each.record], name, each.error) for (name, outgoing), each in refused]
            await self._drop_lost(batch, columns, done.lost)
            self._drop_refused(batch, owners)
            return False
        seconds = time.perf_counter() - started
        for name, outgoing in columns:
            self._metrics.produced(name, len(outgoing.records))
            self._metrics.produce_time(name, seconds)
        self._metrics.succeeded(len(batch.messages))
        self._end(batch.messages)
        first = batch.messages[0].timestamp
        if first is not None:
            self._metrics.end_to_end(max(0.0, self._clock() - first))
        return True

    async def _drop_lost(self, batch: Batch, columns: Columns, lost: Sequence[QueueMessage]) -> None:
        """Others have these now, or an earlier try that seemed to fail has settled them; neither wants our outputs."""
        if not lost:
            return
        self._end(lost, late=len(lost))
        _drop(batch, lost)
        if batch.messages and any(None in outgoing.owners for _name, outgoing in columns):
            # The outputs were made of all of them together: made again, without those that are lost.
            messages, batch.messages = batch.messages, []
            await self._requeue(messages, 0.0)

    def _drop_refused(self, batch: Batch, refused: Sequence[tuple[QueueMessage | None, str, ProduceError]]) -> None:
        for owner, name, error in refused:
            self._metrics.produce_failed(name, 1)
            self._refuse(batch, owner, error)
        _drop(batch, [failure.message for failure in batch.failures])

    async def _store_dead_letters(
        self, queue: OutputQueue, records: Sequence[Record], failures: Sequence[Failure]
    ) -> Stored:
        """Store dead letters and settle their inputs together."""
        done = Stored()
        waiting = list(zip(failures, records, strict=True))
        while waiting:
            letters = [record for _failure, record in waiting]
            answer = await self._source.transact([failure.message for failure, _record in waiting], [(queue, letters)])
            if answer.committed:
                break
            lost = set(answer.lost)
            done.lost += [failure for failure, _record in waiting if failure.message in lost]
            refused = {refusal.record: refusal.error for refusal in answer.refused}
            done.refused += [
                (failure, refused[position])
                for position, (failure, _record) in enumerate(waiting)
                if position in refused and failure.message not in lost
            ]
            waiting = [
                each for position, each in enumerate(waiting) if position not in refused and each[0].message not in lost
            ]
        done.stored = [failure for failure, _record in waiting]
        return done


def _drop(batch: Batch, messages: Sequence[QueueMessage]) -> None:
    """Take messages, and all that was made of them, out of a batch."""
    gone = set(messages)
    batch.drop(gone)
    for outgoing in batch.outgoing.values():
        kept = [
            (record, owner)
            for record, owner in zip(outgoing.records, outgoing.owners, strict=True)
            if owner is None or owner not in gone
        ]
        outgoing.records = [record for record, _owner in kept]
        outgoing.owners = [owner for _record, owner in kept]


def refuse_without_transactions(app: str, source: InputQueue, targets: Mapping[str, OutputQueue]) -> None:
    """See whether an engine's queues can keep `delivery: exactly_once`.

    Raises:
        CapabilityError: with a sentence for each queue that cannot.
    """
    wanted_by = f"delivery: exactly_once of engine {app!r}"
    problems: list[str] = []
    for queue in (source, *targets.values()):
        resolved = queue.resolved
        try:
            resolved.capabilities.require(
                "transactions",
                queue=f"{queue.name!r}" + (f" ({resolved.place})" if resolved.place else ""),
                connector=resolved.connector,
                wanted_by=wanted_by,
                remedy="use delivery: at_least_once, or a connector that has them",
            )
        except CapabilityError as error:
            problems += error.problems
    if not problems:
        problems = [
            f"{target} cannot be written in one transaction with {source}, which {wanted_by} needs: {problem}; "
            f"put both into the same backend, or use delivery: at_least_once"
            for target in targets.values()
            if (problem := source.transaction_problem(target)) is not None
        ]
    if problems:
        raise CapabilityError(*problems)
