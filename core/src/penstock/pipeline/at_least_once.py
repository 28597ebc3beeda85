"""At least once: send the outputs, wait for every confirmation, only then settle the inputs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from penstock.errors import ProduceError
from penstock.events import Produced
from penstock.message import Record
from penstock.pipeline.batch import Batch
from penstock.pipeline.settlement import Failure
from penstock.pipeline.strategy import Delivered, Stored, Strategy
from penstock.queues.queue import OutputQueue


class AtLeastOnce(Strategy):
    """If the process dies on the way, each input is settled, or its broker still has it."""

    async def deliver(self, batch: Batch) -> Delivered:
        """See `Strategy.deliver`."""
        if batch.outputs:
            await self._send(batch)
        if not batch.messages:
            return Delivered()
        return Delivered(batch.messages, await self.settle(batch.messages))

    async def store_dead_letters(
        self, queue: OutputQueue, records: Sequence[Record], failures: Sequence[Failure]
    ) -> Stored:
        """See `Strategy.store_dead_letters`."""
        errors = await queue.produce(records) or [None] * len(records)
        answers = list(zip(failures, errors, strict=True))
        stored = [failure for failure, error in answers if error is None]
        late = await self.settle([failure.message for failure in stored]) if stored else 0
        return Stored(stored, late, refused=[(failure, error) for failure, error in answers if error is not None])

    async def _send(self, batch: Batch) -> None:
        """Produce every record. An input of which the backend refuses an output for good becomes a failure."""
        names = [name for name, column in batch.outputs.items() if column.records]
        started = time.perf_counter()
        answers = await self._produce(names, batch)
        seconds = time.perf_counter() - started
        for name, errors in zip(names, answers, strict=True):
            column = batch.outputs[name]
            refused = [
                (source, error) for source, error in zip(column.inputs, errors, strict=False) if error is not None
            ]
            self._observe(Produced(self._app, name, len(column.records) - len(refused), len(refused), seconds))
            for source, error in refused:
                batch.refuse(source, error)

    async def _produce(self, names: Sequence[str], batch: Batch) -> list[Sequence[ProduceError | None]]:
        calls = [self._targets[name].produce(batch.outputs[name].records) for name in names]
        if len(calls) == 1:
            return [await calls[0]]
        # Side by side. One that fails stops the engine at once, and the others finish what they have begun.
        tasks = [self._tasks.start(call) for call in calls]
        if tasks:
            await asyncio.wait(tasks)
        return [task.result() for task in tasks]
