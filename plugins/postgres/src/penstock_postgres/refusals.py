"""Which records of a transaction the server refuses: a record is blamed only if others are accepted without it.

Called inside a transaction that is rolled back afterwards. What a constraint forbids at once is found in the order in
which records are stored: of two with the same key, the second. What it forbids only at the end (DEFERRABLE INITIALLY
DEFERRED) is found by adding records to those that are fine together, until no more can be added: a row may refer to one
that comes later, and is not to blame for a third.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.connectors import Refusal
from penstock.errors import ConnectorError, ProduceError
from penstock_postgres.connection import Connection
from penstock_postgres.errors import refuses_data
from penstock_postgres.storing import CHECK_NOW, Outputs, Place, places, store


async def find_refused(connection: Connection, outputs: Outputs) -> Sequence[Refusal]:
    """The records that are refused; none if each is accepted, one way or another."""
    if found := await _refused_at_once(connection, outputs):
        return found
    return await _refused_at_the_end(connection, outputs)


async def _refused_at_once(connection: Connection, outputs: Outputs) -> Sequence[Refusal]:
    found: list[Refusal] = []

    async def search(chosen: Sequence[Place]) -> None:
        error = await _attempt(connection, outputs, chosen)
        if error is None:
            return  # stored, beside whatever comes after it
        if len(chosen) == 1:
            found.append(_refusal(chosen[0], error))
            return
        middle = len(chosen) // 2
        await search(chosen[:middle])
        await search(chosen[middle:])

    async with connection.rehearsal():
        await search(places(outputs))
    return found


async def _refused_at_the_end(connection: Connection, outputs: Outputs) -> Sequence[Refusal]:
    if await _attempt(connection, outputs, (), at_the_end=True) is not None:
        return ()  # not even without records: an input cannot be deleted
    doubtful: list[Sequence[Place]] = [places(outputs)]
    errors: dict[Place, ConnectorError] = {}
    while doubtful:
        left: list[Sequence[Place]] = []
        for chosen in doubtful:
            error = await _attempt(connection, outputs, chosen, at_the_end=True)
            if error is not None:
                left.append(chosen)
                errors[chosen[0]] = error
        if len(left) == len(doubtful):  # none of them can be added as a whole
            if all(len(chosen) == 1 for chosen in left):
                return [_refusal(place, errors[place]) for (place,) in left]
            left = [half for chosen in left for half in _halves(chosen)]
        doubtful = left
    return ()


async def _attempt(
    connection: Connection, outputs: Outputs, chosen: Sequence[Place], at_the_end: bool = False
) -> ConnectorError | None:
    """Store these beside what is stored; or store nothing, and say what the server had against it."""
    try:
        async with connection.transaction():
            await store(connection, outputs, chosen)
            if at_the_end:
                # A commit would succeed now; yet the constraints go on waiting for it, for records that come later.
                async with connection.rehearsal():
                    await connection.run(CHECK_NOW)
    except ConnectorError as error:
        if not refuses_data(error):
            raise
        return error
    return None


def _halves(chosen: Sequence[Place]) -> list[Sequence[Place]]:
    middle = len(chosen) // 2
    return [half for half in (chosen[:middle], chosen[middle:]) if half]


def _refusal(place: Place, error: ConnectorError) -> Refusal:
    return Refusal(*place, ProduceError(str(error), retriable=False))
