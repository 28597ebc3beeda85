"""The producer: stores records, and waits when the queue is full."""

from __future__ import annotations

import math
from collections.abc import Sequence

from penstock.connectors import Producer
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock_memory.local import LocalOutbox
from penstock_memory.namespaces import queue
from penstock_memory.options import MemoryOptions

PATIENCE = 10.0
"""Seconds that `produce` waits for room before it answers. Longer, and an engine that wants to stop would seem hung."""


class MemoryProducer(Producer):
    """Produces to the queue `name` of this process."""

    options: MemoryOptions

    def __init__(self, name: str, options: MemoryOptions) -> None:
        super().__init__(name, options)
        self._outbox: LocalOutbox | None = None

    async def connect(self) -> None:
        """Open the queue; it is made if nobody has used it yet."""
        if self._outbox is None:
            self._outbox = LocalOutbox(queue(self.options.namespace, self.name), self.options.max_length)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Store records. What finds no room in time is refused for now; what is no legal record, for good."""
        if self._outbox is None:
            raise ConnectorError(
                f"the producer of {self.name!r} is not open: connect comes first, and nothing follows shutdown"
            )
        answers = [refusal(record) for record in records]
        # Almost always the list as it came: success pays nothing for failure.
        legal = [r for r, answer in zip(records, answers, strict=True) if answer is None] if any(answers) else records
        stored = await self._outbox.append(legal, PATIENCE)
        if stored < len(legal):
            self._refuse_the_rest(answers, stored)
        return answers

    def _refuse_the_rest(self, answers: list[ProduceError | None], stored: int) -> None:
        for index, answer in enumerate(answers):
            if answer is None:
                if stored:
                    stored -= 1
                else:
                    answers[index] = ProduceError(
                        f"queue {self.name!r} is full: max_length is {self.options.max_length}, and no room was made"
                        f" for {PATIENCE:g} s; consume faster, or raise max_length"
                    )

    async def shutdown(self) -> None:
        """Close; nothing is buffered."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            await outbox.close()


def refusal(record: Record) -> ProduceError | None:
    """Why a record can never be stored; None if it can."""
    if not (record.message is None or type(record.message) is bytes):
        return ProduceError(f"a body is bytes or None, not {type(record.message).__name__}", retriable=False)
    if not (record.key is None or type(record.key) is bytes):
        return ProduceError(f"a key is bytes or None, not {type(record.key).__name__}", retriable=False)
    if record.delay and not 0 <= record.delay < math.inf:
        return ProduceError(f"a delay is a number of seconds from 0, not {record.delay}", retriable=False)
    if record.options:
        names = ", ".join(sorted(record.options))
        return ProduceError(f"the connector 'memory' knows no producer keyword {names}", retriable=False)
    return None
