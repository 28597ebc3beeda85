"""For the conformance kit: writes logical messages, so that the input-only `postgres.changes` has an input."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import psycopg

from penstock.capabilities import Capabilities
from penstock.connectors import Producer
from penstock.errors import ConnectorError, NotConnected, ProduceError
from penstock.message import Record
from penstock_postgres.errors import ERRORS
from penstock_postgres.options import ChangesOptions, slot_name

LARGEST = 2_000_000  # bytes
TIMEOUT = 7.0  # seconds
# Each message is on its own. The last one is of a transaction, whose commit is synced to the disk, and with it what was
# written before.
EMIT = (
    "SELECT pg_logical_emit_message(false, %s, body) FROM unnest(%s::bytea[]) AS bodies(body) "
    "UNION ALL SELECT pg_logical_emit_message(true, 'synced', '')"
)


class LogicalMessages(Producer):
    """One message a record; the prefix is the queue's name, because the log is one for the whole database."""

    capabilities: ClassVar = Capabilities(ordering="queue", requeue_delay=True)
    options_model = ChangesOptions
    options: ChangesOptions

    def __init__(self, name: str, options: ChangesOptions) -> None:
        super().__init__(name, options)
        self._client: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._closed = False
        self._lock = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        if self._client is not None:
            await self._client.close()
        dsn = psycopg.conninfo.make_conninfo(self.options.dsn.get_secret_value(), connect_timeout=2)
        with ERRORS.translating("the test's server"):
            self._client = await psycopg.AsyncConnection.connect(dsn, autocommit=True)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        if self._closed or self._client is None:
            raise ConnectorError("closed")
        answers = [_problem(record) for record in records]
        bodies = [record.message for record, problem in zip(records, answers, strict=True) if problem is None]
        async with self._lock:
            try:
                with ERRORS.translating("the test's server"):
                    async with asyncio.timeout(TIMEOUT):
                        await self._client.execute(EMIT, (slot_name(self.name), bodies))
            except TimeoutError:
                raise NotConnected("the test's server does not answer") from None
        return answers

    async def shutdown(self) -> None:
        """See `Producer.shutdown`."""
        self._closed = True
        if self._client is not None:
            await self._client.close()


def _problem(record: Record) -> ProduceError | None:
    if record.message is None:
        return ProduceError("a logical message has a body", retriable=False)
    if len(record.message) > LARGEST:
        return ProduceError("the record is too large", retriable=False)
    if record.options:
        return ProduceError("a logical message has no options", retriable=False)
    return None
