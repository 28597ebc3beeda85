"""Statements that store rows, and statements that delete rows where a delivery is still ours."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from psycopg import sql

from penstock.bulk import BatchLimits, bisect, record_size, split
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock_postgres.errors import rejects_data
from penstock_postgres.message import PostgresMessage
from penstock_postgres.queue_table import Insert, QueueTable
from penstock_postgres.session import Rows, Session

MAX_STATEMENT_BYTES = 16 * 1024 * 1024  # of the records in one statement
MAX_RECORD_BYTES = 1_000_000_000  # the server always closes the connection for a statement of more than 2**30 bytes

# A deferred constraint would fail only at the commit, where it is unknown whose record it was.
CHECK_NOW = sql.SQL("SET CONSTRAINTS ALL IMMEDIATE")

Outputs = Sequence[tuple[QueueTable, Sequence[Record]]]

RecordIndex = tuple[int, int]
"""Which of the outputs, and which of its records."""

log = logging.getLogger("penstock.postgres")


def too_large(record: Record) -> ProduceError | None:
    """The error for a record that is too large for PostgreSQL; None if it is not."""
    size = record_size(record)
    if size <= MAX_RECORD_BYTES:
        return None
    return ProduceError(f"{size:,} bytes; PostgreSQL takes at most {MAX_RECORD_BYTES:,} in a message", retriable=False)


def limits(session: Session) -> BatchLimits:
    """What one statement may carry now."""
    return BatchLimits(session.statement_limit.value, MAX_STATEMENT_BYTES)


def record_indexes(outputs: Outputs) -> list[RecordIndex]:
    """The indexes of all records, in the order in which they are stored."""
    return [(output, number) for output, (_queue, records) in enumerate(outputs) for number in range(len(records))]


async def store(session: Session, outputs: Outputs, chosen: Iterable[RecordIndex]) -> None:
    """Store the chosen records; `chosen` is in order."""
    for output, group in groupby(chosen, key=itemgetter(0)):
        queue, records = outputs[output]
        some = [records[number] for _output, number in group]
        for batch in split(some, limits(session)):
            for insert in queue.inserts(some, batch):
                await run_insert(session, insert)


async def run_insert(session: Session, insert: Insert) -> None:
    """Store the records of one statement, all or none. If it fails or is slow, the next ones carry fewer records."""
    with session.statement_limit.measure(len(insert.positions), session.timeout):
        await session.run(insert.query, insert.parameters)


async def insert_by_bisection(
    session: Session, queue: QueueTable, records: Sequence[Record], insert: Insert
) -> list[tuple[int, ConnectorError]]:
    """Store the records of a statement that was rejected, except those to blame; returns their positions and errors."""

    async def attempt(positions: Sequence[int]) -> ConnectorError | None:
        try:
            for some in queue.inserts(records, positions):
                await run_insert(session, some)
        except ConnectorError as error:
            if not rejects_data(error):
                raise
            return error
        return None

    return await bisect(insert.positions, attempt)


async def delete(session: Session, queue: QueueTable, messages: Sequence[PostgresMessage]) -> list[PostgresMessage]:
    """Delete messages in one statement, which fails as a whole if one of the rows cannot be deleted.

    Returns:
        Those that were not deleted, because they were no longer ours.
    """
    return not_ours(messages, await session.run(queue.delete, queue.fence(messages)))


async def settle(session: Session, queue: QueueTable, messages: Sequence[PostgresMessage]) -> list[PostgresMessage]:
    """Delete messages.

    Returns:
        Those that were not deleted: they were no longer ours, or the database keeps them.
    """
    try:
        return await delete(session, queue, messages)
    except ConnectorError as error:
        if not rejects_data(error):
            raise
        return await delete_by_bisection(session, queue, messages)


async def delete_by_bisection(
    session: Session, queue: QueueTable, messages: Sequence[PostgresMessage], check_constraints: bool = False
) -> list[PostgresMessage]:
    """Like `settle`, in halves, until a row that cannot be deleted is alone. Each half is a transaction or a savepoint.

    Such a row is left and logged. It is delivered again when its lease ends, until the cause is fixed.

    Args:
        check_constraints: Inside a transaction, also find rows that only a deferred constraint would keep.
    """
    late: set[PostgresMessage] = set()

    async def attempt(some: Sequence[PostgresMessage]) -> ConnectorError | None:
        try:
            async with session.transaction():
                missing = await delete(session, queue, some)
                if check_constraints:
                    await session.run(CHECK_NOW)
        except ConnectorError as error:
            if not rejects_data(error):
                raise
            return error
        late.update(missing)
        return None

    for message, error in await bisect(messages, attempt):
        late.add(message)
        log.error(
            "row %s of %s cannot be deleted, so it will be delivered again: %s; fix what keeps it (a foreign key that "
            "refers to it, a trigger)",
            message.position,
            queue.label,
            error,
            extra={"position": message.position},
        )
    return [message for message in messages if message in late]


def not_ours(messages: Sequence[PostgresMessage], rows: Rows) -> list[PostgresMessage]:
    """The messages that a statement left alone, because they were no longer ours.

    A delivery is known by id and token: one consumer may hold two deliveries of a row if the lease of the first ended.

    Args:
        messages: What the statement was given.
        rows: The ids and tokens that it returned.
    """
    done = {(row[0], row[1]) for row in rows}
    left: list[PostgresMessage] = []
    for message in messages:
        delivery = (message.message_context, message.token)
        if delivery in done:
            done.remove(delivery)  # each row answers for one message
        else:
            left.append(message)
    return left
