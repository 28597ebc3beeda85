"""Mutants that only an engine, with all that it asks of a connector, finds out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mutants.reference import ReferenceConsumer, ReferenceProducer
from penstock.bulk import record_size
from penstock.errors import ProduceError
from penstock.message import Headers, QueueMessage, Record

FEW = 6  # headers
LONG = 1_000  # bytes
ROOM = 1_000_100  # bytes of a record; the kit's largest body has 1,000,000


class WritesItsOwnTrace(ReferenceProducer):
    """As an instrumented client: its own trace context takes the place of the message's."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return await super().produce([Record(r.message, r.key, self.traced(r.headers), r.delay) for r in records])

    def traced(self, headers: Headers) -> Headers:
        return [(name, b"00-of-its-own-01" if name == "traceparent" else value) for name, value in headers]


class KeepsFewHeaders(WritesItsOwnTrace):
    """As a backend that allows a message so many attributes."""

    def traced(self, headers: Headers) -> Headers:
        return headers[:FEW]


class CutsLongHeaders(WritesItsOwnTrace):
    """Has a column for them that is too narrow."""

    def traced(self, headers: Headers) -> Headers:
        return [(name, value[:LONG]) for name, value in headers]


class CountsAllAsLate(ReferenceConsumer):
    """Returns how many it has settled, where it is asked how many it has not."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        await super().on_success(messages)
        return len(messages)


class LeavesWhatIsAtWork(ReferenceConsumer):
    """Its keeper of leases ends with the last message, also if that never comes."""

    keeper: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await super().connect()
        self.keeper = self.keeper or asyncio.create_task(self.keep())

    async def keep(self) -> None:
        await asyncio.sleep(30)

    async def shutdown(self) -> None:
        if self.keeper is not None and not self.held:
            self.keeper.cancel()
        await super().shutdown()


class HasNoRoomForLetters(ReferenceProducer):
    """Takes a body of its limit, and no headers beside it."""

    def refusal(self, record: Record) -> ProduceError | None:
        if record_size(record) > ROOM:
            return ProduceError(f"a record has at most {ROOM} bytes", retriable=False)
        return super().refusal(record)
