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

from penstock.connectors import Refusal, Transacted
from penstock.errors import ConnectorError
from penstock_postgres.connection import Connection
from penstock_postgres.errors import refuses_data
from penstock_postgres.message import PostgresMessage
from penstock_postgres.queue_shape import QueueShape
from penstock_postgres.refusals import find_refused
from penstock_postgres.settling import delete, settle_apart
from penstock_postgres.storing import CHECK_NOW, Outputs, places, store


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
            lost = await delete(connection, source, messages)
            if lost:
                raise _RolledBack
            await store(connection, outputs, places(outputs))
            if outputs:
                await connection.run(CHECK_NOW)
    except _RolledBack:
        return Transacted(lost=lost)
    except ConnectorError as error:
        if not refuses_data(error):
            raise
        return await _find_out(connection, source, messages, outputs, error)
    return Transacted()


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
