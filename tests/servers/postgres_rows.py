"""For the conformance kit: writes rows, so that the input-only `postgres.poll` has an input."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import psycopg
from psycopg import sql

from penstock.capabilities import Capabilities
from penstock.connectors import Producer
from penstock.errors import ConnectorError, NotConnected, ProduceError
from penstock.message import Record
from penstock_postgres.errors import ERRORS
from penstock_postgres.options import PollOptions

TIMEOUT = 7.0  # seconds
SERVER = "the test's server"
INSERT = "INSERT INTO {} (body) SELECT body FROM unnest(%s::bytea[]) WITH ORDINALITY AS x(body, n) ORDER BY n"


class Rows(Producer):
    """One row a record; all rows of a call are of one transaction."""

    capabilities: ClassVar = Capabilities(ordering="queue", requeue_delay=True, tombstones=True)
    options_model = PollOptions
    options: PollOptions

    def __init__(self, name: str, options: PollOptions) -> None:
        super().__init__(name, options)
        self._client: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._lock = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self.shutdown()
        dsn = psycopg.conninfo.make_conninfo(self.options.dsn.get_secret_value(), connect_timeout=5)
        with ERRORS.translating(SERVER):
            self._client = await psycopg.AsyncConnection.connect(dsn, autocommit=True)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        if self._client is None:
            raise ConnectorError("closed")
        insert = sql.SQL(INSERT).format(sql.Identifier(self.options.schema_name, self.name))
        async with self._lock:
            try:
                with ERRORS.translating(SERVER):
                    async with asyncio.timeout(TIMEOUT):
                        await self._client.execute(insert, ([record.message for record in records],))
            except TimeoutError:
                raise NotConnected(f"{SERVER} does not answer") from None
        return [None] * len(records)

    async def shutdown(self) -> None:
        """See `Producer.shutdown`."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
