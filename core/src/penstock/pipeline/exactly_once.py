"""Exactly once: outputs are stored and inputs settled in one transaction of the backend that they share."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from penstock.connectors import Transacted
from penstock.errors import CapabilityError
from penstock.events import Produced
from penstock.message import QueueMessage, Record
from penstock.pipeline.batch import Batch, OutputColumn
from penstock.pipeline.settlement import Failure
from penstock.pipeline.strategy import Delivered, Stored, Strategy
from penstock.queues.queue import InputQueue, OutputQueue

Columns = Sequence[tuple[str, OutputColumn]]


class ExactlyOnce(Strategy):
    """If the process dies on the way, each input is settled and its outputs are stored, or neither."""

    async def deliver(self, batch: Batch) -> Delivered:
        """See `Strategy.deliver`."""
        messages = batch.messages
        columns = [(name, column) for name, column in batch.outputs.items() if column.records]
        if not columns:
            return Delivered(messages, await self.settle(messages))
        originals = self._in_flight.for_settlement(messages)
        started = time.perf_counter()
        answer = await self._source.transact(
            originals, [(self._targets[name], column.records) for name, column in columns]
        )
        if not answer.committed:
            return self._without_refused_and_lost(batch, columns, answer)
        seconds = time.perf_counter() - started
        for name, column in columns:
            self._observe(Produced(self._app, name, len(column.records), 0, seconds))
        return Delivered(messages)

    def _without_refused_and_lost(self, batch: Batch, columns: Columns, answer: Transacted) -> Delivered:
        # The inputs are looked up before anything leaves the columns, and the positions with it.
        refused = [(columns[each.output], each) for each in answer.refused]
        inputs = [(column.inputs[each.record], name, each.error) for (name, column), each in refused]
        lost = self._lost(batch.messages, answer)
        delivered = Delivered(lost=lost)
        _drop(batch, lost)
        if lost and any(None in column.inputs for _name, column in columns):
            # The outputs were made of all of them together: they are made again, without what is lost.
            delivered.requeue, batch.messages = batch.messages, []
        for name, count in Counter(name for _source, name, _error in inputs).items():
            self._observe(Produced(self._app, name, 0, count, 0.0))
        for source, _name, error in inputs:
            batch.refuse(source, error)
        _drop(batch, [failure.message for failure in batch.failures])
        if batch.messages:
            delivered.rest = batch
        return delivered

    def _lost(self, messages: Sequence[QueueMessage], answer: Transacted) -> list[QueueMessage]:
        """The messages that another consumer has now, or that an earlier try settled although it seemed to fail."""
        lost = set(answer.lost)
        if not lost:
            return []
        originals = self._in_flight.originals(messages)
        return [message for message, original in zip(messages, originals, strict=True) if original in lost]

    async def store_dead_letters(
        self, queue: OutputQueue, records: Sequence[Record], failures: Sequence[Failure]
    ) -> Stored:
        """See `Strategy.store_dead_letters`."""
        done = Stored()
        waiting = list(zip(failures, records, strict=True))
        while waiting:
            messages = [failure.message for failure, _record in waiting]
            letters = [record for _failure, record in waiting]
            answer = await self._source.transact(self._in_flight.for_settlement(messages), [(queue, letters)])
            if answer.committed:
                break
            lost = set(self._lost(messages, answer))
            refused = {refusal.record: refusal.error for refusal in answer.refused}
            waiting_before, waiting = waiting, []
            for position, (failure, record) in enumerate(waiting_before):
                if failure.message in lost:
                    done.lost.append(failure)
                elif position in refused:
                    done.refused.append((failure, refused[position]))
                else:
                    waiting.append((failure, record))
        done.stored = [failure for failure, _record in waiting]
        return done


def _drop(batch: Batch, messages: Sequence[QueueMessage]) -> None:
    """Take messages, and all that was made of them, out of a batch."""
    if not messages:
        return
    gone = set(messages)
    batch.drop(gone)
    for column in batch.outputs.values():
        kept = [
            (record, source)
            for record, source in zip(column.records, column.inputs, strict=True)
            if source is None or source not in gone
        ]
        column.records = [record for record, _source in kept]
        column.inputs = [source for _record, source in kept]


def require_transactions(app: str, source: InputQueue, targets: Mapping[str, OutputQueue]) -> None:
    """Check whether an engine's queues can keep `delivery: exactly_once`.

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
                queue=f"{queue.name!r}" + (f" ({resolved.location})" if resolved.location else ""),
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
