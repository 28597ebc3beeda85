"""Messages out of a Storage Queue, under leases that only their pop receipt extends, ends or settles."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from azure.storage.queue import QueueMessage as Delivery

from penstock.backoff import Backoff
from penstock.bulk import run_at_once
from penstock.connectors import Probed
from penstock.errors import ConnectorError
from penstock.leased import LeasedConsumer
from penstock.message import QueueMessage
from penstock.polling import Poller
from penstock.timeouts import whole_seconds
from penstock_azure.storage_queue.bodies import decoded
from penstock_azure.storage_queue.client import GoneError, StorageClient
from penstock_azure.storage_queue.options import LONGEST

MOST = 32  # messages that one request may receive
FIRST_PAUSE = 0.05  # seconds between two looks at a queue that has just become empty; doubled up to `poll_interval`

log = logging.getLogger("penstock.azure")


class StorageMessage(QueueMessage):
    """One delivery; `message_context` and `position` are the message's id.

    Attributes:
        receipt: The pop receipt, by which the service knows this delivery. Each extension gives another one.
        changing: Held while a request shows the receipt, because it may change it.
    """

    __slots__ = ("changing", "receipt")

    message_context: str

    def __init__(self, delivery: Delivery, encoding: str) -> None:
        super().__init__(
            delivery.id,
            decoded(delivery.content, encoding),
            timestamp=delivery.inserted_on.timestamp() if delivery.inserted_on else None,
            attempts=delivery.dequeue_count or 1,
            position=delivery.id,
        )
        self.receipt = delivery.pop_receipt or ""
        self.changing = asyncio.Lock()


class StorageQueueConsumer(LeasedConsumer[StorageMessage]):
    """Reads one queue. The service has no receive that waits, and no call for several messages but the receive."""

    def __init__(self, name: str, options: Any) -> None:
        at_once = options.requests_at_once
        super().__init__(name, options, log, remedy="raise `visibility_timeout`", most=1, at_once=at_once)
        self.server = f"Azure Storage at {options.address}"
        self.lease = float(options.visibility_timeout)
        self._client = StorageClient(name, options)
        self._poller = Poller(Backoff(initial=min(FIRST_PAUSE, options.poll_interval), maximum=options.poll_interval))

    async def connect(self) -> None:
        """See `Consumer.connect`. Earlier deliveries can still be settled: a receipt belongs to no connection."""
        await self._client.connect(self.options.create)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. Looks again after 50 ms, and less and less often down to every `poll_interval`."""
        return await self._poller.poll(lambda: self._receive(max_messages), timeout)

    async def _receive(self, max_messages: int) -> list[StorageMessage]:
        messages = await self._page(min(max_messages, MOST)) if max_messages else []
        self.leases.deliver(messages)
        if len(messages) == MOST and (left := max_messages - MOST):
            sizes = [MOST] * (left // MOST) + [left % MOST] * (left % MOST > 0)
            more: list[StorageMessage] = []
            with suppress(ConnectorError):  # the next call meets it again; what has arrived must be worked on
                await run_at_once((partial(self._add, more, size) for size in sizes), self.options.requests_at_once)
            messages += more
        return messages

    async def _add(self, messages: list[StorageMessage], count: int) -> None:
        page = await self._page(count)
        self.leases.deliver(page)
        messages += page

    async def _page(self, count: int) -> list[StorageMessage]:
        lease, encoding = self.options.visibility_timeout, self.options.encoding
        with self._client.calling() as client:
            # One page of the pager is one request; the pager itself would go on until the queue is empty.
            pages = client.receive_messages(messages_per_page=count, visibility_timeout=lease).by_page()
            async for page in pages:
                return [StorageMessage(delivery, encoding) async for delivery in page]
        return []

    async def delete(self, messages: Sequence[StorageMessage]) -> Sequence[StorageMessage]:
        """See `LeasedConsumer.delete`."""
        (message,) = messages
        async with message.changing:
            try:
                with self._client.calling() as client:
                    await client.delete_message(message.message_context, message.receipt)
            except GoneError:
                return messages
        return ()

    async def requeue(self, messages: Sequence[StorageMessage], delay: float) -> Sequence[StorageMessage]:
        """See `LeasedConsumer.requeue`: after seven days at most."""
        (message,) = messages
        async with message.changing:
            return () if await self._hide(message, min(whole_seconds(delay), LONGEST)) else messages

    async def prolong(self, messages: Sequence[StorageMessage]) -> Sequence[StorageMessage]:
        """See `LeasedConsumer.prolong`: under a new receipt."""
        (message,) = messages
        async with message.changing:
            # It may be settled by now.
            ours = message not in self.leases or await self._hide(message, self.options.visibility_timeout)
        return () if ours else messages

    async def _hide(self, message: StorageMessage, seconds: int) -> bool:
        try:
            with self._client.calling() as client:
                updated = await client.update_message(
                    message.message_context, message.receipt, visibility_timeout=seconds
                )
        except GoneError:
            return False
        message.receipt = updated.pop_receipt or ""
        return True

    async def lag(self) -> int | None:
        """See `Consumer.lag`. What other workers have in flight counts as waiting: the service cannot tell it apart."""
        return max(0, await self._client.count() - len(self.leases))

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return await self._client.probe()

    async def close(self) -> None:
        """See `LeasedConsumer.close`."""
        await self._client.close()
