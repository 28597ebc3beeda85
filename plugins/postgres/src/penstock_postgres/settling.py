"""Rows deleted, where they are still ours; and what to do about one that the database will not let go."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from penstock.errors import ConnectorError
from penstock.turns import Call
from penstock_postgres.connection import Connection
from penstock_postgres.errors import refuses_data
from penstock_postgres.fence import missed
from penstock_postgres.message import PostgresMessage
from penstock_postgres.queue_shape import QueueShape
from penstock_postgres.storing import CHECK_NOW

log = logging.getLogger("penstock.postgres")


async def settle_together(
    connection: Connection, queue: QueueShape, calls: Sequence[Call[Sequence[PostgresMessage], int]]
) -> None:
    """Delete what is ours of what several calls name, and answer each how many of its messages are left."""
    left = set(await settle(connection, queue, [message for call in calls for message in call.request]))
    for call in calls:
        call.answer(sum(message in left for message in call.request))


async def settle(
    connection: Connection, queue: QueueShape, messages: Sequence[PostgresMessage]
) -> Sequence[PostgresMessage]:
    """Delete what is ours.

    Returns:
        What is left: it was no longer ours, or cannot be deleted.
    """
    try:
        return await delete(connection, queue, messages)
    except ConnectorError as error:
        if not refuses_data(error):
            raise
        return await settle_apart(connection, queue, messages)


async def delete(
    connection: Connection, queue: QueueShape, messages: Sequence[PostgresMessage]
) -> Sequence[PostgresMessage]:
    """The same in one statement, which fails as a whole if one of the rows cannot be deleted."""
    return missed(messages, await connection.run(queue.delete, queue.fence(messages)))


async def settle_apart(
    connection: Connection, queue: QueueShape, messages: Sequence[PostgresMessage], at_the_end: bool = False
) -> Sequence[PostgresMessage]:
    """The same in halves, each a transaction or a savepoint of its own, until a row that cannot be deleted is alone.

    Such a row is left and told. It comes again when its lease ends, for as long as nobody mends what refers to it; the
    others need not wait for that.

    Args:
        at_the_end: Inside a transaction, ask also what would keep a row only at the commit.
    """
    try:
        async with connection.transaction():
            left = await delete(connection, queue, messages)
            if at_the_end:
                await connection.run(CHECK_NOW)
            return left
    except ConnectorError as error:
        if not refuses_data(error):
            raise
        if len(messages) == 1:
            log.error(
                "row %s of %s cannot be deleted, so it will come again: %s; mend what keeps it (a foreign key that "
                "refers to it, a trigger)",
                messages[0].position,
                queue.shown,
                error,
            )
            return messages
    middle = len(messages) // 2
    halves = (messages[:middle], messages[middle:])
    return [message for half in halves for message in await settle_apart(connection, queue, half, at_the_end)]
