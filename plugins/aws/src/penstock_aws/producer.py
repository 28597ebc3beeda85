"""Records into a queue of SQS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.connectors import Created, Probed, Producer
from penstock.errors import ProduceError
from penstock.message import Record
from penstock_aws.options import FifoOptions, SqsOptions
from penstock_aws.queue import SqsQueue
from penstock_aws.sending import Sender

MAX_BYTES = 1_048_576  # of one call


class SqsProducer(Producer):
    """Sends to one queue, standard or FIFO."""

    def __init__(self, name: str, options: SqsOptions) -> None:
        super().__init__(name, options)
        self._queue = SqsQueue(name, options)
        self.server = self._queue.server
        group = options.group if isinstance(options, FifoOptions) else None
        self._sender = Sender(self._send, "MessageBody", MAX_BYTES, self._queue.fifo, group)

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._queue.open()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        return await self._sender.send(records)

    async def _send(self, entries: Sequence[Any]) -> Any:
        return await self._queue.call("send_message_batch", Entries=entries)

    async def create(self) -> Created:
        """See `Producer.create`."""
        queue = SqsQueue(self.name, self.options)
        try:
            return await queue.create()
        finally:
            await queue.aws.close()

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._queue.probe()

    async def shutdown(self) -> None:
        """See `Producer.shutdown`; nothing is buffered, so there is nothing to flush."""
        await self._queue.aws.close()
