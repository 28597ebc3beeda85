"""Mutants that say "stored" when it is not, or the other way round."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mutants.reference import ReferenceProducer
from penstock.errors import ConnectorError, NotConnected, ProduceError
from penstock.message import Record


class SwallowsRefusals(ReferenceProducer):
    """Whatever the backend says, it is stored."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        await super().produce(records)
        return [None] * len(records)


class RefusesAllForOne(ReferenceProducer):
    """One record that is too large stops its neighbours."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        refused = [error for record in records if (error := self.refusal(record)) is not None]
        return refused * len(records) if refused else await super().produce(records)


class RefusesForNow(ReferenceProducer):
    """Lets the engine send for ever what will never be taken."""

    def refusal(self, record: Record) -> ProduceError | None:
        error = super().refusal(record)
        return ProduceError(str(error), retriable=True) if error is not None else None


class RaisesForOne(ReferenceProducer):
    """An exception for all, instead of an answer for one."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        for record in records:
            error = self.refusal(record)
            if error is not None:
                raise error
        return await super().produce(records)


class AnswersOnlyErrors(ReferenceProducer):
    """Returns the errors, and nothing for what went well."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return [error for error in await super().produce(records) if error is not None]


class ConfirmsEarly(ReferenceProducer):
    """Confirms what it has in its buffer, and stores it a moment later."""

    WAIT = 0.05  # seconds

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.buffer: list[Record] = []
        self.flusher: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await super().connect()
        self.flusher = self.flusher or asyncio.create_task(self._flush_for_ever())

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.WAIT)
            await self.flush()

    async def flush(self) -> None:
        buffer, self.buffer = self.buffer, []
        if buffer:
            self.opened().add(buffer)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        self.opened()
        self.buffer += records
        await asyncio.sleep(0)
        return [None] * len(records)

    async def shutdown(self) -> None:
        if self.flusher is not None:
            self.flusher.cancel()
            self.flusher = None
            await self.flush()
        await super().shutdown()


class ConfirmsAtTheEnd(ConfirmsEarly):
    """Stores nothing before it is closed."""

    WAIT = 1e6


class LosesItsBuffer(ConfirmsEarly):
    """Does not flush when it closes."""

    async def shutdown(self) -> None:
        self.buffer.clear()
        await super().shutdown()


class AcceptsAfterTheClose(ReferenceProducer):
    """Pretends to store what comes after shutdown."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return [None] * len(records) if self.store is None else await super().produce(records)


class OvertakesItself(ReferenceProducer):
    """Calls at the same time are stored in any order."""

    calls = 0

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        self.calls += 1
        await asyncio.sleep(0.02 if self.calls % 2 else 0)
        return await super().produce(records)


class LosesAtTheSameTime(ReferenceProducer):
    """A call that begins while another one is under way takes its place."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        self.records = records
        await asyncio.sleep(0.001)
        return await super().produce(self.records)


class StoresTwice(ReferenceProducer):
    """Sends again what was stored, since its answer got lost."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        await super().produce(records[:1])
        return await super().produce(records)


class ConfirmsWhileAway(ReferenceProducer):
    """Takes "no error was reported" for a confirmation."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        try:
            return await super().produce(records)
        except NotConnected:
            return [None] * len(records)


class ConfirmsWhileHung(ReferenceProducer):
    """Waits for a while, then believes."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        try:
            async with asyncio.timeout(0.3):
                return await super().produce(records)
        except TimeoutError:
            return [None] * len(records)


class RefusesWhileAway(ReferenceProducer):
    """An outage is a refusal for good."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        try:
            return await super().produce(records)
        except NotConnected as error:
            return [ProduceError(str(error), retriable=False)] * len(records)


class FailsOnNothing(ReferenceProducer):
    """Cannot send an empty list."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        if not records:
            raise ConnectorError("there is nothing to send")
        return await super().produce(records)


class IgnoresRecordDelay(ReferenceProducer):
    """Sends at once."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return await super().produce([Record(r.message, r.key, r.headers) for r in records])


class CutsRecordDelays(ReferenceProducer):
    """Sends after the whole seconds of a delay."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return await super().produce([Record(r.message, r.key, r.headers, int(r.delay), r.options) for r in records])


class IgnoresOptions(ReferenceProducer):
    """Takes any option of a record, and does nothing with it."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return await super().produce([Record(r.message, r.key, r.headers, r.delay) for r in records])


class PromisesOptions(IgnoresOptions):
    """Its spec names an option of records that it never reads."""
