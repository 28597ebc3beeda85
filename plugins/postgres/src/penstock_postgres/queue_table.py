"""What a queue is in the database: its statements, how a row becomes a message, and how records become rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from penstock.errors import ProduceError
from penstock.message import Record
from penstock_postgres.message import PostgresMessage
from penstock_postgres.session import Parameters, Query
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


class QueueTable(Protocol):
    """Where the messages of a queue are. `MessageTable` and `UserTable` are the two kinds.

    Attributes:
        label: What errors and the log call it.
        channel: The NOTIFY channel that wakes waiting consumers; None if there is none.
        claim: Takes `limit`, `bytes`, `lease`, `token`, `worker` and the scope; gives rows for `message`.
        claim_chosen: Takes the parameters of `chosen` besides.
        wake: Takes the scope; gives how many messages became visible, and the seconds until the next one, or None.
        delete, extend, release: Take `ids` and `tokens` (and `lease`, `delay`); give the ids and tokens that were ours.
        record_calls: Takes `ids`, `tokens` and `calls`; None if there is no column for them.
        lag: Takes `most` and the scope.
        scope: The parameters that select the rows of this queue.
    """

    label: str
    channel: str | None
    claim: Query
    claim_chosen: Query
    wake: Query
    delete: Query
    extend: Query
    release: Query
    record_calls: Query | None
    lag: Query
    scope: Parameters

    @property
    def backlog(self) -> Query:
        """Takes the scope; gives how many messages wait, are leased, are delayed, and the time of the oldest."""

    async def prepare_to_consume(self, session: Runs) -> None:
        """Create what is missing if `create` is set, and check the table and its privileges."""

    async def prepare_to_produce(self, session: Runs) -> None:
        """Like `prepare_to_consume`, with the privileges that a producer needs."""

    async def prepare_to_browse(self, session: Runs) -> None:
        """Check that the queue can be read. Creates nothing."""

    def browse(self, after: str | None) -> tuple[Query, Parameters]:
        """The statement that reads the messages behind a position, and its parameters except `limit` and `bytes`.

        It gives rows of position, body, attempts and state, and, where the table has them, key, headers and time.
        """

    def chosen(self, positions: Sequence[str]) -> Parameters:
        """The parameters that select the messages at some positions."""

    def message(self, row: tuple[Any, ...], token: UUID) -> PostgresMessage:
        """The delivery in a row that `claim` gave."""

    def fence(self, messages: Sequence[PostgresMessage]) -> dict[str, Any]:
        """The parameters `ids` and `tokens`."""

    def rejection(self, record: Record) -> ProduceError | None:
        """The error for a record that can never be stored; None if it can be tried."""

    def inserts(self, records: Sequence[Record], positions: Sequence[int]) -> Sequence[Insert]:
        """The statements that store the records at these positions, in their order."""
