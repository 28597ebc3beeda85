"""Messages into a Storage Queue, several requests at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.bulk import BatchLimits, produce_in_batches
from penstock.connectors import Created, Probed, Producer
from penstock.errors import ProduceError
from penstock.message import Record
from penstock.timeouts import whole_seconds
from penstock_azure.storage_queue.bodies import encoded
from penstock_azure.storage_queue.client import RefusedError, StorageClient
from penstock_azure.storage_queue.options import LONGEST

LIMITS = BatchLimits(max_records=1)  # the service has no call for several
FOR_EVER = -1  # the service's word; without it a message is gone after seven days


class StorageQueueProducer(Producer):
    """Sends to one queue. Keys and headers have no place there, which the capabilities say."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.server = f"Azure Storage at {options.address}"
        self._client = StorageClient(name, options)

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._client.connect(self.options.create)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        return await produce_in_batches(records, self._send, limits=LIMITS, at_once=self.options.requests_at_once)

    async def _send(self, records: Sequence[Record]) -> None:
        (record,) = records
        if record.message is None:
            raise RefusedError("a Storage Queue takes no null body (tombstone)")
        if (hidden := whole_seconds(record.delay)) >= LONGEST:
            raise RefusedError(f"a Storage Queue holds a message back for less than seven days, not {hidden:,} s")
        try:
            text = encoded(record.message, self.options.encoding)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        with self._client.calling() as client:
            await client.send_message(text, visibility_timeout=hidden, time_to_live=FOR_EVER)

    async def create(self) -> Created:
        """See `Producer.create`."""
        making = StorageClient(self.name, self.options)
        try:
            existed = await making.connect(create=True)
            return Created(existed, f"a Storage Queue at {self.options.address}")
        finally:
            await making.close()

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._client.probe()

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._client.close()
