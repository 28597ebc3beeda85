"""Messages into an RSMQ queue, in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from penstock.connectors import Producer
from penstock.errors import NotConnected, ProduceError
from penstock.message import Record
from penstock_rsmq.client import RsmqClient
from penstock_rsmq.errors import TemporarilyRefused
from penstock_rsmq.keys import random_part
from penstock_rsmq.scripts import MOST_BYTES, MOST_MESSAGES, SEND

_IGNORED = {
    "delay",
    "quiet",
}  # keywords of py-volley: the first is the record's delay, the second changed only its logs


class RsmqProducer(Producer):
    """Sends to one queue. Keys and headers have no place in RSMQ; what has them is refused by the capabilities."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._client = RsmqClient(name, options)
        # One call after the other: records keep their order, and the server works on one script at a time anyway.
        self._sending = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._client.connect()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`. A record larger than the queue's maxsize is refused for good, the others are stored.

        If the server goes away after some were confirmed, only the rest is to be sent again.
        """
        results = [_refusal(record) for record in records]
        confirmed = False
        async with self._sending:
            for part in _parts(records, results):
                try:
                    refused = await self._client.run(SEND, *self._packed([records[i] for i in part]))
                except NotConnected as error:
                    if not confirmed and not isinstance(error, TemporarilyRefused):
                        raise
                    for i in range(part[0], len(records)):
                        results[i] = results[i] or ProduceError(str(error), retriable=True)
                    break
                confirmed = True
                for position in refused[1:]:
                    i = part[position]
                    size = len(records[i].message or b"")
                    results[i] = ProduceError(
                        f"a body of {size} bytes is larger than the maxsize of queue {self.name!r}, {refused[0]} bytes",
                        retriable=False,
                    )
        return results

    def _packed(self, records: Sequence[Record]) -> tuple[str, str, bytes]:
        """What `send.lua` takes: one string for all sizes and delays, one for all bodies."""
        bodies = [record.message or b"" for record in records]
        sizes = " ".join([f"{len(body)} {self._delay(record)}" for body, record in zip(bodies, records, strict=True)])
        return random_part(), sizes, b"".join(bodies)

    def _delay(self, record: Record) -> int | str:
        delay = record.delay or (record.options or {}).get("delay") or self.options.delay
        return "-" if delay is None else round(delay * 1000)

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._client.close()


def _refusal(record: Record) -> ProduceError | None:
    if record.message is None:
        return ProduceError("RSMQ has no null body (tombstone)", retriable=False)
    if record.options:
        unknown = sorted(record.options.keys() - _IGNORED)
        if unknown and not (unknown == ["encode"] and not record.options["encode"]):
            return ProduceError(f"RSMQ takes no option {unknown[0]!r} with a message, only 'delay'", retriable=False)
    return None


def _parts(records: Sequence[Record], results: Sequence[ProduceError | None]) -> Iterator[list[int]]:
    """The positions of what is to be sent, so many at a time as one script call may carry."""
    part: list[int] = []
    size = 0
    for i, record in enumerate(records):
        if results[i] is not None:
            continue
        weight = len(record.message or b"")
        if part and (len(part) == MOST_MESSAGES or size + weight > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(i)
        size += weight
    if part:
        yield part
