"""Messages into a list, in bulk."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from penstock.bulk import AdaptiveLimit, BatchLimits, produce_in_batches
from penstock.connectors import Probed, Producer
from penstock.errors import ProduceError
from penstock.message import Record
from penstock_redis.connection import MAX_BYTES, MAX_MESSAGES, Connection
from penstock_redis.errors import TemporarilyRefused
from penstock_redis.lists.keys import COUNT, PUSH, list_keys
from penstock_redis.options import LARGEST


class ListProducer(Producer):
    """Appends to one list. Keys and headers have no place in it, which the capabilities say."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.server = f"Redis at {options.address}"
        self._redis = Connection(name, options, list_keys(name))
        self._end = "right" if options.take_from == "left" else "left"
        self._batch = AdaptiveLimit(MAX_MESSAGES)
        # One call after the other, so that records keep their order.
        self._sending = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._redis.open()
        await self._redis.run(COUNT)
        await self._redis.warn_once()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        async with self._sending:
            limits = BatchLimits(self._batch.value, MAX_BYTES, LARGEST)
            return await produce_in_batches(records, self._send, limits=limits, reject=_rejection)

    async def _send(self, records: Sequence[Record]) -> None:
        try:
            # A server that is too slow for so many is asked for fewer, instead of being sent the same again and again.
            with self._batch.measure(len(records), self.options.timeout):
                await push(self._redis, self._end, [(record.message or b"", record.delay) for record in records])
        except TemporarilyRefused as error:
            raise ProduceError(str(error)) from error

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._redis.probe()

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._redis.close()


async def push(redis: Connection, end: str, bodies: Sequence[tuple[bytes, float]]) -> None:
    """Push bodies to an end, "left" or "right", each now or after its delay."""
    sizes = " ".join([f"{len(body)} {round(delay * 1000)}" for body, delay in bodies])
    await redis.run(PUSH, end[0].upper(), uuid.uuid4().hex, sizes, b"".join([body for body, _ in bodies]))


def _rejection(record: Record) -> ProduceError | None:
    if record.message is None:
        return ProduceError("a Redis list takes no null body (tombstone)", retriable=False)
    return None
