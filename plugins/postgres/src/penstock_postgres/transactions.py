"""Outputs stored and inputs settled in one transaction.

The claim is a lease, made before and committed; the function runs without a transaction or a lock. Then the inputs are
deleted where their tokens are still ours, and the outputs stored, in one transaction, which is rolled back unless every
input was deleted. So the outputs of an input become visible once, with its deletion:

- whoever was too slow and lost an input to another worker, finds its token gone, and its outputs never show;
- if the answer to the commit is lost, the same is tried again: inputs that are gone by then were committed with their
  outputs, so these are not stored a second time.

Calls that wait for the session at the same time are made in one transaction. Each has its own answer: one that lost an
input leaves the group, and the others go on without it; where a record is refused the group is halved, until the call
that it came from is alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from penstock.connectors import Refusal, Transacted
from penstock.errors import ConnectorError
from penstock.message import Record
from penstock.turns import Call
from penstock_postgres.connection import Connection
from penstock_postgres.errors import refuses_data
from penstock_postgres.message import PostgresMessage
from penstock_postgres.queue_shape import QueueShape
from penstock_postgres.refusals import find_refused
from penstock_postgres.settling import delete, settle_apart
from penstock_postgres.storing import CHECK_NOW, Outputs, places, store


class _RolledBack(Exception):
    """Ends a transaction whose work is not wanted."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one call of `transact` asks for.

    Attributes:
        messages: The inputs.
        outputs: Records by queue; these are in the same database.
    """

    messages: Sequence[PostgresMessage]
    outputs: Outputs

    @property
    def weight(self) -> int:
        """How many rows it deletes and stores."""
        return len(self.messages) + sum(len(records) for _shape, records in self.outputs)


async def store_and_settle(connection: Connection, source: QueueShape, calls: Sequence[Call[Work, Transacted]]) -> None:
    """See `Consumer.transact`. Several calls, in as few transactions as give each its own answer.

    Args:
        connection: The session for it; nobody else may use it meanwhile.
        source: The input queue.
        calls: Each is answered as soon as its own answer is known.

    Raises:
        ConnectorError: the calls that are not answered yet may or may not have been committed.
    """
    for call in calls:
        if refused := _refused_unasked(call.request.outputs):
            call.answer(Transacted(refused=refused))
    await _together(connection, source, [call for call in calls if call.given is None])


async def _together(connection: Connection, source: QueueShape, calls: Sequence[Call[Work, Transacted]]) -> None:
    while len(calls) > 1:
        messages = [message for call in calls for message in call.request.messages]
        try:
            missing = set(await _commit(connection, source, messages, _merged(call.request.outputs for call in calls)))
        except ConnectorError as error:
            if not refuses_data(error):
                raise
            middle = len(calls) // 2
            await _together(connection, source, calls[:middle])
            await _together(connection, source, calls[middle:])
            return
        for call in calls:
            lost = [message for message in call.request.messages if message in missing]
            if lost or not missing:
                call.answer(Transacted(lost=lost))
        calls = [call for call in calls if call.given is None]
    for call in calls:
        call.answer(await _alone(connection, source, call.request))


async def _alone(connection: Connection, source: QueueShape, work: Work) -> Transacted:
    try:
        return Transacted(lost=await _commit(connection, source, work.messages, work.outputs))
    except ConnectorError as error:
        if not refuses_data(error):
            raise
        return await _find_out(connection, source, work.messages, work.outputs, error)


async def _commit(
    connection: Connection, source: QueueShape, messages: Sequence[PostgresMessage], outputs: Outputs
) -> Sequence[PostgresMessage]:
    """Store and delete in one transaction; or do nothing, and tell which messages are no longer ours."""
    lost: Sequence[PostgresMessage] = ()
    try:
        async with connection.transaction():
            lost = await delete(connection, source, messages)
            if lost:
                raise _RolledBack
            await store(connection, outputs, places(outputs))
            if outputs:
                await connection.run(CHECK_NOW)
    except _RolledBack:
        return lost
    return ()


def _refused_unasked(outputs: Outputs) -> Sequence[Refusal]:
    return [
        Refusal(queue, position, problem)
        for queue, (shape, records) in enumerate(outputs)
        for position, record in enumerate(records)
        if (problem := shape.refusal(record)) is not None
    ]


def _merged(each: Iterable[Outputs]) -> Outputs:
    """The outputs of several calls, those for one queue in one statement; the order of queues in a call is kept.

    A row may refer to one that its own call stores before it.
    """
    every = list(each)
    order: TopologicalSorter[QueueShape] = TopologicalSorter()
    for outputs in every:
        before: list[QueueShape] = []
        for shape, _records in outputs:
            order.add(shape, *before)
            before = [shape]
    try:
        merged: dict[QueueShape, list[Record]] = {shape: [] for shape in order.static_order()}
    except CycleError:
        return [column for outputs in every for column in outputs]
    for outputs in every:
        for shape, records in outputs:
            merged[shape] += records
    return list(merged.items())


async def _find_out(
    connection: Connection,
    source: QueueShape,
    messages: Sequence[PostgresMessage],
    outputs: Outputs,
    error: ConnectorError,
) -> Transacted:
    """What the server refuses: the deletion of an input, or a record.

    Records are judged where the inputs are deleted, as in the real transaction: one may take the place of its input, in
    the same table.
    """
    async with connection.rehearsal():
        lost = await settle_apart(connection, source, messages)
        refused = () if lost else await find_refused(connection, outputs)
    if lost or refused:
        return Transacted(lost=lost, refused=refused)
    async with connection.rehearsal():
        lost = await settle_apart(connection, source, messages, at_the_end=True)
    if not lost:
        # Refused together, accepted apart: nobody can tell which record to blame.
        raise error from error.__cause__
    return Transacted(lost=lost)
