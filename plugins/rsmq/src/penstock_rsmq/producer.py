"""Messages into an RSMQ queue, in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from penstock.bulk import BatchLimits, produce_in_batches
from penstock.connectors import Created, Probed, Producer
from penstock.errors import ProduceError
from penstock.message import Record
from penstock_rsmq.client import RsmqClient
from penstock_rsmq.errors import TemporarilyRefused
from penstock_rsmq.keys import random_part
from penstock_rsmq.scripts import MAX_BYTES, MAX_MESSAGES, SEND

LIMITS = BatchLimits(MAX_MESSAGES, MAX_BYTES)


class RsmqProducer(Producer):
    """Sends to one queue. Keys and headers have no place in RSMQ, which the capabilities say."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.server = f"Redis at {options.address}"
        self._client = RsmqClient(name, options)
        # One call after the other: records keep their order, and the server works on one script at a time anyway.
        self._sending = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._client.connect()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`. A record larger than the queue's maxsize is rejected, the others are stored.

        If the server goes away after some were confirmed, only the rest is to be sent again.
        """
        async with self._sending:
            return await produce_in_batches(records, self._send, limits=LIMITS, reject=_rejection)

    async def _send(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        # One string for all sizes and delays, one for all bodies: see `send.lua`.
        bodies = [record.message or b"" for record in records]
        sizes = " ".join([f"{len(body)} {self._delay(record)}" for body, record in zip(bodies, records, strict=True)])
        try:
            maxsize, *refused = await self._client.run(SEND, random_part(), sizes, b"".join(bodies))
        except TemporarilyRefused as error:
            raise ProduceError(str(error)) from error
        text = f"bytes is larger than the maxsize of queue {self.name!r}, {maxsize} bytes"
        return {i: ProduceError(f"a body of {len(bodies[i])} {text}", retriable=False) for i in refused}

    def _delay(self, record: Record) -> int | str:
        delay = record.delay or (record.options or {}).get("delay") or self.options.delay
        return "-" if delay is None else round(delay * 1000)

    async def create(self) -> Created:
        """See `Producer.create`."""
        client = RsmqClient(self.name, self.options.model_copy(update={"create": True}))
        try:
            await client.connect()
            return Created(not client.created, f"a queue in namespace {self.options.ns!r} at {client.address}")
        finally:
            await client.close()

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._client.probe()

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._client.close()


def _rejection(record: Record) -> ProduceError | None:
    if record.message is None:
        return ProduceError("RSMQ takes no null body (tombstone)", retriable=False)
    if record.options and record.options.get("encode"):
        return ProduceError("RSMQ takes no option 'encode': the queue's serializer encodes", retriable=False)
    return None
