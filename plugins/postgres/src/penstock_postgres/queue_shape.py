"""What a queue is in the database: its statements, how a row becomes a message and records become rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from penstock.errors import ProduceError
from penstock.message import Record
from penstock_postgres.connection import Parameters, Query
from penstock_postgres.message import PostgresMessage
from penstock_postgres.statements import Runs


@dataclass(frozen=True, slots=True)
class Insert:
    """One statement that stores some of the records of a call.

    Attributes:
        query, parameters: The statement.
        positions: Which of the call's records it stores, in order.
    """

    query: Query
    parameters: Parameters
    positions: Sequence[int]


class QueueShape(Protocol):
    """Two of them: the table of messages, and a table of the user's.

    Attributes:
        shown: What people call it.
        channel: On which waiting consumers are woken; None if nobody does.
        claim: Takes `limit`, `bytes`, `lease`, `token`, `worker` and the scope; gives rows for `message`.
        wake: Takes the scope; answers how many became visible, and the seconds until the next, or None.
        delete, extend, release: Take `ids` and `tokens` (and `lease`, `delay`); give the ids and tokens that were ours.
        record_calls: Takes `ids`, `tokens` and `calls`; None if there is no column for them.
        lag: Takes `most` and the scope.
        scope: What tells this queue's rows from others'.
    """

    shown: str
    channel: str | None
    claim: Query
    wake: Query
    delete: Query
    extend: Query
    release: Query
    record_calls: Query | None
    lag: Query
    scope: Parameters

    async def prepare_to_consume(self, connection: Runs) -> None:
        """Create what is missing, if that is asked for, and check that all is there."""

    async def prepare_to_produce(self, connection: Runs) -> None:
        """The same for the other side."""

    async def prepare_to_browse(self, connection: Runs) -> None:
        """Check that the queue can be read; create nothing."""

    def browse(self, after: str | None) -> tuple[Query, Parameters]:
        """The statement that reads the messages behind a position, and its parameters but `limit` and `bytes`.

        It gives rows of position, body, attempts and state, and where there are any key, headers and time.
        """

    def message(self, row: tuple[Any, ...], token: UUID) -> PostgresMessage:
        """One delivery, from a row that `claim` gave."""

    def fence(self, messages: Sequence[PostgresMessage]) -> dict[str, Any]:
        """The parameters `ids` and `tokens`."""

    def refusal(self, record: Record) -> ProduceError | None:
        """Why a record can never be stored; None if it can be tried."""

    def inserts(self, records: Sequence[Record], positions: Sequence[int]) -> Sequence[Insert]:
        """The statements that store the records at these positions, in their order."""
