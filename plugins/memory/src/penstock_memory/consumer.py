"""The consumer: hands out leased messages, and settles them by the token of the delivery."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.connectors import Consumer
from penstock.errors import ConnectorError
from penstock.message import QueueMessage
from penstock_memory.local import LocalInbox
from penstock_memory.namespaces import queue
from penstock_memory.options import MemoryOptions


class MemoryConsumer(Consumer):
    """Consumes the queue `name` of this process. A message's `message_context` is the token of its delivery."""

    options: MemoryOptions

    def __init__(self, name: str, options: MemoryOptions) -> None:
        super().__init__(name, options)
        self.lease = options.vt
        self._inbox: LocalInbox | None = None

    async def connect(self) -> None:
        """Open the queue; it is made if nobody has used it yet."""
        if self._inbox is None:
            self._inbox = LocalInbox(queue(self.options.namespace, self.name), self.options.vt)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Lease messages, lowest number first."""
        return await self._open().receive(max_messages, timeout)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Remove messages. Those whose lease was lost are left alone, and counted."""
        if self._inbox is None:
            # Closed: everything was given back, so each of these is late.
            return len(messages)
        return await self._inbox.settle([message.message_context for message in messages])

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        """Give messages back to their places in the queue."""
        if self._inbox is not None:
            await self._inbox.give_back([message.message_context for message in messages], delay or 0.0)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """Start the leases anew."""
        if self._inbox is not None:
            await self._inbox.extend([message.message_context for message in messages])

    async def lag(self) -> int:
        """Messages that nobody holds, those held back by a delay included."""
        return await self._open().lag()

    async def shutdown(self) -> None:
        """Give back what is unsettled, at once."""
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            await inbox.close()

    def _open(self) -> LocalInbox:
        if self._inbox is None:
            raise ConnectorError(
                f"the consumer of {self.name!r} is not open: connect comes first, and nothing follows shutdown"
            )
        return self._inbox
