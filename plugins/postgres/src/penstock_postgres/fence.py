"""What a fenced statement did: to which of our deliveries, and to which it could not."""

from __future__ import annotations

from collections.abc import Sequence

from penstock_postgres.connection import Rows
from penstock_postgres.message import PostgresMessage


def missed(messages: Sequence[PostgresMessage], rows: Rows) -> list[PostgresMessage]:
    """Those of `messages` that a statement left alone, because they were no longer ours.

    By the pair of id and token: one consumer may hold two deliveries of a row, when the lease of the first one ended.
    Each row answers for one message.

    Args:
        messages: What the statement was given.
        rows: What it answered, ids and tokens.
    """
    done = {(row[0], row[1]) for row in rows}
    left: list[PostgresMessage] = []
    for message in messages:
        delivery = (message.message_context, message.token)
        if delivery in done:
            done.remove(delivery)
        else:
            left.append(message)
    return left
