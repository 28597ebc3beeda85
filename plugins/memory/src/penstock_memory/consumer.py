"""The consumer: hands out leased messages, and settles them by the token of the delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.connectors import Consumer
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage, QueueMessage
from penstock_memory.local import LocalInbox
from penstock_memory.namespaces import queue
from penstock_memory.options import MemoryOptions

if TYPE_CHECKING:
    from penstock_memory.remote import RemoteInbox


class MemoryConsumer(Consumer):
    """Consumes the queue `name`. A message's `message_context` is the token of its delivery.

    Every message is leased for `vt` seconds. When the consumer shuts down, or its process dies and the queue lives in a
    broker, what it holds is visible to others at once.
    """

    options: MemoryOptions

    def __init__(self, name: str, options: MemoryOptions) -> None:
        super().__init__(name, options)
        self.lease = options.vt
        self._inbox: LocalInbox | RemoteInbox | None = None

    async def connect(self) -> None:
        """Open the queue; it is made if nobody has used it yet, and so is the broker.

        After `NotConnected` the deliveries from before are no longer ours: the broker, if it still lives, has given
        them back.
        """
        if self._inbox is not None and self._inbox.lost:
            await self._inbox.close()
            self._inbox = None
        if self._inbox is None:
            self._inbox = await open_inbox(self.name, self.options)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Lease messages, lowest number first."""
        if self._inbox is None:
            raise ConnectorError(
                f"the consumer of {self.name!r} is not open; call connect first, nothing after shutdown"
            )
        return await self._inbox.receive(max_messages, timeout)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Remove messages. Those whose lease was lost are left alone, and counted."""
        if self._inbox is None:
            # Shutdown has given everything back, so each of these is late.
            return len(messages)
        return await self._inbox.settle(_tokens(messages))

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:
        """Give messages back to their places in the queue. Those whose lease was lost are left alone, and counted."""
        if self._inbox is None:
            return len(messages)
        return await self._inbox.give_back(_tokens(messages), delay or 0.0)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """Start the leases anew."""
        if self._inbox is not None:
            await self._inbox.extend(_tokens(messages))

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        """Let the queue remember that these are called."""
        if self._inbox is not None:
            await self._inbox.record(_tokens(messages), [message.abandoned or 0 for message in messages])

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        """Let the queue forget it."""
        if self._inbox is not None:
            await self._inbox.record(_tokens(messages), [0] * len(messages))

    async def lag(self) -> int | None:
        """Messages that nobody holds, those held back by a delay included; None before `connect`."""
        return None if self._inbox is None else await self._inbox.lag()

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. A position is a message's number; a queue that was never used is empty."""
        if after is not None and not (after.isascii() and after.isdigit()):
            raise ConnectorError(
                f"{after!r} is not a position of queue {self.name!r}; a position is a number, like '42'"
            )
        if self._inbox is None or self._inbox.lost:
            await self.connect()  # changes nothing: it takes no message
        assert self._inbox is not None  # noqa: S101  (for type checkers)
        return await self._inbox.browse(limit, int(after or 0))

    async def shutdown(self) -> None:
        """Give back what is unsettled, at once."""
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            await inbox.close()


async def open_inbox(name: str, options: MemoryOptions) -> LocalInbox | RemoteInbox:
    """The consumer's side of a queue, in this process or in a broker."""
    if options.url is None:
        return LocalInbox(queue(options.namespace, name), options.vt)
    # Imported here, because a queue of this process needs no subprocess and no sockets.
    from penstock_memory.remote import RemoteInbox

    return await RemoteInbox.open(name, options)


def _tokens(messages: Sequence[QueueMessage]) -> list[int]:
    return [message.message_context for message in messages]
