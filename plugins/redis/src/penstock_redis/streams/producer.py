"""Messages into a stream, in pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from penstock.bulk import AdaptiveLimit, BatchLimits, produce_in_batches
from penstock.connectors import Created, Probed, Producer
from penstock.errors import ConnectorError, NotConnected, ProduceError
from penstock.message import Record
from penstock_redis.connection import MAX_BYTES, MAX_MESSAGES, Connection
from penstock_redis.errors import TemporarilyRefused
from penstock_redis.streams.entries import fields_of
from penstock_redis.streams.stream import join_group, trim


class StreamProducer(Producer):
    """Appends to one stream."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.server = f"Redis at {options.address}"
        self._redis = Connection(name, options)
        self._batch = AdaptiveLimit(MAX_MESSAGES)
        self._add = ("XADD", name, *(() if options.create else ("NOMKSTREAM",)), "*")
        # One call after the other, so that records keep their order.
        self._sending = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._redis.open()
        if not await self._redis.command("EXISTS", self.name) and not self.options.create:
            raise self._missing()
        await self._redis.warn_once()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        async with self._sending:
            limits = BatchLimits(self._batch.value, MAX_BYTES, self.options.max_bytes)
            return await produce_in_batches(records, self._send, limits=limits)

    async def _send(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        # A server that is too slow for so many is asked for fewer, instead of being sent the same again and again.
        with self._batch.measure(len(records), self.options.timeout):
            answers = await self._redis.pipeline([(*self._add, *fields_of(record)) for record in records])
        refused: dict[int, ProduceError] = {}
        for position, answer in enumerate(answers):
            if answer is None:
                raise self._missing()
            if isinstance(answer, TemporarilyRefused):
                refused[position] = ProduceError(str(answer))
            elif isinstance(answer, ConnectorError):
                raise answer
        await trim(self._redis, self.options)
        return refused

    def _missing(self) -> NotConnected:
        return NotConnected(f"{self.server}: there is no stream {self.name!r}, and `create` is false")

    async def create(self) -> Created:
        """See `Producer.create`."""
        redis = Connection(self.name, self.options)
        try:
            await redis.open()
            existed = await join_group(redis, self.options.model_copy(update={"create": True}))
            return Created(existed, f"a stream at {self.options.address}, with group {self.options.group!r}")
        finally:
            await redis.close()

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._redis.probe()

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._redis.close()
