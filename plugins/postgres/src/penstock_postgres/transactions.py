"""Outputs stored and inputs settled in one transaction.

The lease was committed when the messages were claimed, and the function ran without a transaction or a lock. Now one
transaction deletes the inputs where their tokens are still ours, and stores the outputs. It is rolled back unless every
input was deleted. So the outputs of an input become visible once, together with its deletion:

- A worker that was too slow finds the token of its input gone, so its outputs are never visible.
- If the answer to the commit is lost, the same transaction is tried again. Inputs that are gone by then were committed
  with their outputs, so these are not stored a second time.

Calls that wait for the session at the same time are made in one transaction, and each gets its own answer. A call that
lost an input leaves the group, and the others go on without it. If a record is rejected, the group is halved until the
call that it came from is alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from penstock.bulk import bisect
from penstock.connectors import Refusal, Transacted
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock.turns import Call
from penstock_postgres.errors import rejects_data
from penstock_postgres.message import PostgresMessage
from penstock_postgres.queue_table import QueueTable
from penstock_postgres.session import Session
from penstock_postgres.writes import (
    CHECK_NOW,
    Outputs,
    RecordIndex,
    delete,
    delete_by_bisection,
    record_indexes,
    store,
)


class _RolledBack(Exception):
    """Ends a transaction that must not be committed."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one call of `transact` asks for.

    Attributes:
        messages: The inputs.
        outputs: Records by queue, all in the same database.
    """

    messages: Sequence[PostgresMessage]
    outputs: Outputs

    @property
    def weight(self) -> int:
        """How many rows it deletes and stores."""
        return len(self.messages) + sum(len(records) for _queue, records in self.outputs)


async def store_and_settle(session: Session, source: QueueTable, calls: Sequence[Call[Work, Transacted]]) -> None:
    """See `Consumer.transact`. Makes several calls in as few transactions as give each its own answer.

    Args:
        session: Not used by any other call meanwhile.
        source: The input queue.
        calls: Each is answered as soon as its answer is known.

    Raises:
        ConnectorError: the calls without an answer may or may not have been committed.
    """
    for call in calls:
        if refused := _invalid_records(call.request.outputs):
            call.answer(Transacted(refused=refused))
    await _make_together(session, source, [call for call in calls if call.given is None])


async def _make_together(session: Session, source: QueueTable, calls: Sequence[Call[Work, Transacted]]) -> None:
    while len(calls) > 1:
        messages = [message for call in calls for message in call.request.messages]
        try:
            missing = set(await _commit(session, source, messages, _merged(call.request.outputs for call in calls)))
        except ConnectorError as error:
            if not rejects_data(error):
                raise
            middle = len(calls) // 2
            await _make_together(session, source, calls[:middle])
            await _make_together(session, source, calls[middle:])
            return
        for call in calls:
            lost = [message for message in call.request.messages if message in missing]
            if lost or not missing:
                call.answer(Transacted(lost=lost))
        calls = [call for call in calls if call.given is None]
    for call in calls:
        call.answer(await _make_alone(session, source, call.request))


async def _make_alone(session: Session, source: QueueTable, work: Work) -> Transacted:
    try:
        return Transacted(lost=await _commit(session, source, work.messages, work.outputs))
    except ConnectorError as error:
        if not rejects_data(error):
            raise
        return await _diagnose(session, source, work, error)


async def _commit(
    session: Session, source: QueueTable, messages: Sequence[PostgresMessage], outputs: Outputs
) -> Sequence[PostgresMessage]:
    """Store and delete in one transaction; or do nothing, and return the messages that are no longer ours."""
    lost: Sequence[PostgresMessage] = ()
    try:
        async with session.transaction():
            lost = await delete(session, source, messages)
            if lost:
                raise _RolledBack
            await store(session, outputs, record_indexes(outputs))
            if outputs:
                await session.run(CHECK_NOW)
    except _RolledBack:
        return lost
    return ()


def _merged(each: Iterable[Outputs]) -> Outputs:
    """The outputs of several calls, joined by queue. Keeps the order of queues in each call.

    The order matters: a row may refer to one that its own call stores before it.
    """
    every = list(each)
    order: TopologicalSorter[QueueTable] = TopologicalSorter()
    for outputs in every:
        before: list[QueueTable] = []
        for queue, _records in outputs:
            order.add(queue, *before)
            before = [queue]
    try:
        merged: dict[QueueTable, list[Record]] = {queue: [] for queue in order.static_order()}
    except CycleError:
        return [output for outputs in every for output in outputs]
    for outputs in every:
        for queue, records in outputs:
            merged[queue] += records
    return list(merged.items())


# -- finding what the server rejects


def _invalid_records(outputs: Outputs) -> Sequence[Refusal]:
    """The records that can be rejected without asking the server."""
    return [
        Refusal(output, number, problem)
        for output, (queue, records) in enumerate(outputs)
        for number, record in enumerate(records)
        if (problem := queue.rejection(record)) is not None
    ]


async def _diagnose(session: Session, source: QueueTable, work: Work, error: ConnectorError) -> Transacted:
    """Find what the server rejects: the deletion of an input, or a record.

    Records are tried after the inputs are deleted, as in the real transaction: a record may take the place of its input
    in the same table.
    """
    async with session.dry_run():
        lost = await delete_by_bisection(session, source, work.messages)
        refused = () if lost else await _rejected_records(session, work.outputs)
    if lost or refused:
        return Transacted(lost=lost, refused=refused)
    async with session.dry_run():
        lost = await delete_by_bisection(session, source, work.messages, check_constraints=True)
    if not lost:
        # Rejected together and accepted alone: no single record is to blame.
        raise error from error.__cause__
    return Transacted(lost=lost)


async def _rejected_records(session: Session, outputs: Outputs) -> Sequence[Refusal]:
    """The records to blame, each of which is rejected while others are accepted without it; none if there are none.

    Called inside a transaction that is rolled back afterwards.
    """

    async def attempt(chosen: Sequence[RecordIndex]) -> ConnectorError | None:
        return await _try_to_store(session, outputs, chosen)

    # Of two records that conflict at once, the second is found, because they are stored in order.
    async with session.dry_run():
        found = await bisect(record_indexes(outputs), attempt)
    return [_refusal(*each) for each in found] or await _rejected_at_the_commit(session, outputs)


async def _rejected_at_the_commit(session: Session, outputs: Outputs) -> Sequence[Refusal]:
    """The records that a deferred constraint rejects.

    A row may refer to one that comes later. So records are added to those that are accepted together, until no more can
    be added; the rest is to blame.
    """
    if await _try_to_store(session, outputs, (), check_constraints=True) is not None:
        return ()  # rejected even without records: an input cannot be deleted
    doubtful: list[Sequence[RecordIndex]] = [record_indexes(outputs)]
    errors: dict[RecordIndex, ConnectorError] = {}
    while doubtful:
        left: list[Sequence[RecordIndex]] = []
        for chosen in doubtful:
            error = await _try_to_store(session, outputs, chosen, check_constraints=True)
            if error is not None:
                left.append(chosen)
                errors[chosen[0]] = error
        if len(left) == len(doubtful):  # none of them can be added as a whole
            if all(len(chosen) == 1 for chosen in left):
                return [_refusal(index, errors[index]) for (index,) in left]
            left = [half for chosen in left for half in _halves(chosen)]
        doubtful = left
    return ()


async def _try_to_store(
    session: Session, outputs: Outputs, chosen: Sequence[RecordIndex], check_constraints: bool = False
) -> ConnectorError | None:
    """Store these records beside what is stored already; or store nothing, and return the server's error."""
    try:
        async with session.transaction():
            await store(session, outputs, chosen)
            if check_constraints:
                # In a savepoint that is rolled back, so that the constraints stay deferred for records that come later.
                async with session.dry_run():
                    await session.run(CHECK_NOW)
    except ConnectorError as error:
        if not rejects_data(error):
            raise
        return error
    return None


def _halves(chosen: Sequence[RecordIndex]) -> list[Sequence[RecordIndex]]:
    middle = len(chosen) // 2
    return [half for half in (chosen[:middle], chosen[middle:]) if half]


def _refusal(index: RecordIndex, error: ConnectorError) -> Refusal:
    return Refusal(*index, ProduceError(str(error), retriable=False))
