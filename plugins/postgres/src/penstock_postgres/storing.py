"""Records stored: one statement of them, or those of a transaction, by queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from time import monotonic

from psycopg import sql

from penstock.errors import NotConnected
from penstock.message import Record
from penstock_postgres.connection import Connection
from penstock_postgres.parts import parts
from penstock_postgres.queue_shape import Insert, QueueShape

Outputs = Sequence[tuple[QueueShape, Sequence[Record]]]

Place = tuple[int, int]
"""Where a record is: which of the outputs, and which of its records."""

# A constraint that waits for the commit would fail there, where nobody knows whose record it was.
CHECK_NOW = sql.SQL("SET CONSTRAINTS ALL IMMEDIATE")


def places(outputs: Outputs) -> list[Place]:
    """All of them, in the order in which they are stored."""
    return [(queue, position) for queue, (_shape, records) in enumerate(outputs) for position in range(len(records))]


async def store(connection: Connection, outputs: Outputs, chosen: Iterable[Place]) -> None:
    """Store the records at these places, which are in order."""
    for queue, group in groupby(chosen, key=itemgetter(0)):
        shape, records = outputs[queue]
        some = [records[position] for _queue, position in group]
        for part in parts(some, [None] * len(some), connection.portion):
            for insert in shape.inserts(some, part):
                await run_insert(connection, insert)


async def run_insert(connection: Connection, insert: Insert) -> None:
    """Store the records of one statement, all or none; the next ones are smaller if this is not done in time."""
    count, began = len(insert.positions), monotonic()
    try:
        await connection.run(insert.query, insert.parameters)
    except NotConnected:
        connection.portion.failed(count)
        raise
    connection.portion.succeeded(count, quickly=monotonic() - began < connection.timeout / 4)
