"""Messages into a table, in bulk."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.bulk import produce_in_batches
from penstock.connectors import Created, Probed, Producer
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock_postgres import schema
from penstock_postgres.errors import rejects_data
from penstock_postgres.message_table import MessageTable
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.probing import probe
from penstock_postgres.queue_table import QueueTable
from penstock_postgres.session import DURABLY, Session
from penstock_postgres.user_table import UserTable
from penstock_postgres.writes import insert_by_bisection, limits, run_insert


class PostgresProducer(Producer):
    """Writes one queue: `postgres` into the table of messages, `postgres.table` into a table of the user's.

    Attributes:
        queue: What the queue is in the database.
    """

    def __init__(self, name: str, options: PostgresOptions | TableOptions) -> None:
        super().__init__(name, options)
        self.queue: QueueTable = (
            UserTable(name, options) if isinstance(options, TableOptions) else MessageTable(name, options)
        )
        self.any_body = isinstance(options, PostgresOptions)
        self._session = Session(options, DURABLY)
        self.server = f"PostgreSQL at {self._session.address}"
        self._ready = False

    @property
    def address(self) -> tuple[str, ...]:
        """Server, port, database and user."""
        return self._session.address.server

    async def connect(self) -> None:
        """See `Producer.connect`."""
        async with self._session.lock:
            if await self._session.open() or not self._ready:
                self._ready = False
                await self.queue.prepare_to_produce(self._session)
                self._ready = True

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`. A statement stores all of its records or none."""
        async with self._session.lock:
            return await produce_in_batches(
                records, self._store, limits=limits(self._session), reject=self.queue.rejection
            )

    async def _store(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        """Store a batch, which may take several statements; returns the rejected records by position."""
        rejected: dict[int, ProduceError] = {}
        for insert in self.queue.inserts(records, range(len(records))):
            try:
                await run_insert(self._session, insert)
            except ConnectorError as error:
                if not rejects_data(error):
                    raise
                for position, reason in await insert_by_bisection(self._session, self.queue, records, insert):
                    rejected[position] = ProduceError(str(reason), retriable=False)
        return rejected

    async def create(self) -> Created:
        """See `Producer.create`: the table of messages, which holds any queue."""
        options = self.options
        session = Session(options)
        try:
            await session.open()
            existed = await schema.version(session, options.schema_name, options.table) is not None
            await schema.migrate(session, options.schema_name, options.table)
            return Created(existed, f"a queue in the table {options.schema_name}.{options.table} at {session.address}")
        finally:
            await session.close()

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await probe(self.name, self.options, "output")

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so nothing needs to be flushed."""
        await self._session.close()
