"""Messages into a Service Bus queue, in batches that are stored whole or not at all."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.servicebus import ServiceBusMessage

from penstock.bulk import BatchLimits, bisect, produce_in_batches
from penstock.connectors import Probed, Producer
from penstock.errors import ProduceError
from penstock.message import Record
from penstock_azure.servicebus.client import Connection, RefusedError
from penstock_azure.servicebus.wire import written_properties

LIMITS = BatchLimits(max_records=200, max_bytes=128 * 1024)
"""The Standard tier takes 256 KiB, properties and the frame of each message included."""


class ServiceBusProducer(Producer):
    """Sends to one queue. One batch after the other: the client's sender is not made for several tasks."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.server = f"Azure Service Bus at {options.address}"
        self._connection = Connection(name, options, receives=False)
        self._sending = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._connection.open()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        async with self._sending:
            return await produce_in_batches(records, self._send, limits=LIMITS, reject=_rejection)

    async def _send(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        positions = range(len(records))
        messages = [_message(record) for record in records]

        async def attempt(some: Sequence[int]) -> ProduceError | None:
            batch = [messages[position] for position in some]
            try:
                async with self._connection.calling() as sender:
                    await sender.send_messages(batch if len(batch) > 1 else batch[0])
            except RefusedError as error:
                return error
            return None

        return dict(await bisect(positions, attempt))

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        await self._connection.open_once()
        return [
            Probed("reachable", True, f"{self.server} answers"),
            Probed("authorised", True, "may send"),
        ]

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._connection.close()


def _rejection(record: Record) -> ProduceError | None:
    for name, value in (record.options or {}).items():
        if not isinstance(value, str) or not 0 < len(value) <= 128:
            return RefusedError(f"the option {name!r} must be a text of 1 to 128 characters")
    return None


def _message(record: Record) -> ServiceBusMessage:
    # A record that is sent again has the same id, by which a queue with duplicate detection knows it.
    options = record.options = {"message_id": str(uuid.uuid4()), **(record.options or {})}
    when = datetime.now(UTC) + timedelta(seconds=record.delay) if record.delay else None
    return ServiceBusMessage(
        record.message or b"",
        application_properties=written_properties(record),  # type: ignore[arg-type]
        scheduled_enqueue_time_utc=when,
        **options,
    )
