"""Outputs stored and inputs settled in one transaction.

The claim is a lease, made before and committed; the function runs without a transaction or a lock. Then the inputs are
deleted where their tokens are still ours, and the outputs stored, in one transaction, which is rolled back unless every
input was deleted. So the outputs of an input become visible once, with its deletion:

- whoever was too slow and lost an input to another worker, finds its token gone, and its outputs never show;
- if the answer to the commit is lost, the same is tried again: inputs that are gone by then were committed with their
  outputs, so these are not stored a second time.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from penstock.connectors import Refusal, Transacted
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock_postgres.connection import Connection
from penstock_postgres.message import PostgresMessage
from penstock_postgres.parts import parts
from penstock_postgres.producer import refuses_a_record
from penstock_postgres.queue_shape import QueueShape

Outputs = Sequence[tuple[QueueShape, Sequence[Record]]]

# A constraint that waits for the commit would fail there, where nobody knows whose record it was.
_CHECK_NOW = sql.SQL("SET CONSTRAINTS ALL IMMEDIATE")


class _RolledBack(Exception):
    """Ends a transaction whose work is not wanted."""


async def store_and_settle(
    connection: Connection, source: QueueShape, messages: Sequence[PostgresMessage], outputs: Outputs
) -> Transacted:
    """See `Consumer.transact`.

    Args:
        connection: The session for it; nobody else may use it meanwhile.
        source: The input queue.
        messages: The inputs.
        outputs: Records by queue; these are in the same database.
    """
    refused = [
        Refusal(queue, position, problem)
        for queue, (shape, records) in enumerate(outputs)
        for position, record in enumerate(records)
        if (problem := shape.refusal(record)) is not None
    ]
    if refused:
        return Transacted(refused=refused)
    lost: Sequence[PostgresMessage] = ()
    try:
        async with connection.transaction():
            lost = await _settle(connection, source, messages)
            if lost:
                raise _RolledBack
            for shape, records in outputs:
                await _store(connection, shape, records, range(len(records)))
            if outputs:
                await connection.run(_CHECK_NOW)
    except _RolledBack:
        return Transacted(lost=lost)
    except ConnectorError as error:
        if not refuses_a_record(error):
            raise
        return Transacted(refused=await _find_refused(connection, outputs, error))
    return Transacted()


async def _settle(
    connection: Connection, source: QueueShape, messages: Sequence[PostgresMessage]
) -> Sequence[PostgresMessage]:
    """Delete what is ours; what is not."""
    gone = {row[0] for row in await connection.run(source.delete, source.fence(messages))}
    return [message for message in messages if message.message_context not in gone]


async def _store(
    connection: Connection, shape: QueueShape, records: Sequence[Record], positions: Sequence[int]
) -> None:
    chosen = [records[position] for position in positions]
    for part in parts(chosen, [None] * len(chosen)):
        for insert in shape.inserts(chosen, part):
            await connection.run(insert.query, insert.parameters)


async def _find_refused(connection: Connection, outputs: Outputs, error: ConnectorError) -> Sequence[Refusal]:
    """Which records the server refuses: tried in halves, in a transaction that stores nothing."""
    found: list[Refusal] = []

    async def search(queue: int, positions: Sequence[int]) -> None:
        shape, records = outputs[queue]
        try:
            async with connection.transaction():
                await _store(connection, shape, records, positions)
                await connection.run(_CHECK_NOW)
        except ConnectorError as refusal:
            if not refuses_a_record(refusal):
                raise
            if len(positions) == 1:
                found.append(Refusal(queue, positions[0], ProduceError(str(refusal), retriable=False)))
                return
            middle = len(positions) // 2
            await search(queue, positions[:middle])
            await search(queue, positions[middle:])

    try:
        async with connection.transaction():
            for queue, (_shape, records) in enumerate(outputs):
                if records:
                    await search(queue, range(len(records)))
            raise _RolledBack
    except _RolledBack:
        if not found:
            # Refused together, accepted apart: nobody can tell which record to blame.
            raise error from error.__cause__
        return found
