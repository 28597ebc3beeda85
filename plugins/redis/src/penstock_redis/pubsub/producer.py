"""Messages to a channel of Redis Pub/Sub, in pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from penstock.bulk import BatchLimits, produce_in_batches
from penstock.connectors import Probed, Producer
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock_redis.connection import MAX_BYTES, MAX_MESSAGES, Connection

LIMITS = BatchLimits(MAX_MESSAGES, MAX_BYTES)


class PubSubProducer(Producer):
    """Publishes to one channel. Confirmed means that the server has passed it on, not that a subscriber has it."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.server = f"Redis at {options.address}"
        self._redis = Connection(name, options)
        # One call after the other, so that records keep their order.
        self._sending = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._redis.open()
        await self._redis.command("PING")

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        async with self._sending:
            return await produce_in_batches(records, self._send, limits=LIMITS, reject=_rejection)

    async def _send(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        answers = await self._redis.pipeline([("PUBLISH", self.name, record.message or b"") for record in records])
        refused: dict[int, ProduceError] = {}
        for position, answer in enumerate(answers):
            if isinstance(answer, ConnectorError):
                raise answer
            if answer == 0 and self.options.require_subscriber:
                refused[position] = ProduceError(
                    f"there is no subscriber of channel {self.name!r} (require_subscriber)"
                )
        return refused

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._redis.probe()

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._redis.close()


def _rejection(record: Record) -> ProduceError | None:
    if record.message is None:
        return ProduceError("Redis Pub/Sub takes no null body (tombstone)", retriable=False)
    return None
