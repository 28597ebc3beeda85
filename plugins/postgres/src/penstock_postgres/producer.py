"""Messages into a table, in bulk."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.connectors import Producer
from penstock.errors import ConnectorError, NotConnected, ProduceError
from penstock.message import Record
from penstock_postgres.connection import DURABLY, Connection
from penstock_postgres.errors import refuses_data
from penstock_postgres.message_table import MessageTable
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.parts import parts
from penstock_postgres.queue_shape import QueueShape
from penstock_postgres.storing import run_insert
from penstock_postgres.user_table import UserTable


class PostgresProducer(Producer):
    """Writes one queue: `postgres` into the table of messages, `postgres.table` into a table of the user's.

    Attributes:
        queue: What the queue is in the database.
    """

    def __init__(self, name: str, options: PostgresOptions | TableOptions) -> None:
        super().__init__(name, options)
        self.queue: QueueShape = (
            UserTable(name, options) if isinstance(options, TableOptions) else MessageTable(name, options)
        )
        self.any_body = isinstance(options, PostgresOptions)
        self._connection = Connection(options, DURABLY)
        self._ready = False

    @property
    def address(self) -> tuple[str, ...]:
        """Server, port, database and user."""
        return self._connection.address.server

    async def connect(self) -> None:
        """See `Producer.connect`."""
        async with self._connection.lock:
            if await self._connection.open() or not self._ready:
                self._ready = False
                await self.queue.prepare_to_produce(self._connection)
                self._ready = True

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`. A statement stores all of its records or none.

        If the server goes away after some were confirmed, only the rest is to be sent again.
        """
        results = [self.queue.refusal(record) for record in records]
        confirmed = False
        async with self._connection.lock:
            for part in parts(records, results, self._connection.portion):
                try:
                    await self._store(records, part, results)
                except NotConnected as error:
                    if not confirmed:
                        raise
                    for position in range(part[0], len(records)):
                        results[position] = results[position] or ProduceError(str(error), retriable=True)
                    break
                confirmed = True
        return results

    async def _store(
        self, records: Sequence[Record], positions: Sequence[int], results: list[ProduceError | None]
    ) -> None:
        for insert in self.queue.inserts(records, positions):
            try:
                await run_insert(self._connection, insert)
            except ConnectorError as error:
                if not refuses_data(error):
                    raise
                await self._store_halves(records, insert.positions, results, error)

    async def _store_halves(
        self,
        records: Sequence[Record],
        positions: Sequence[int],
        results: list[ProduceError | None],
        error: ConnectorError,
    ) -> None:
        """One of these is refused, and the statement with it: halve until it stands alone."""
        if len(positions) == 1:
            results[positions[0]] = ProduceError(str(error), retriable=False)
            return
        middle = len(positions) // 2
        for half in (positions[:middle], positions[middle:]):
            await self._store(records, half, results)

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._connection.close()
