"""Messages out of a Service Bus queue, under locks that are renewed, settled with the service's answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from azure.servicebus import ServiceBusMessageState, ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType

from penstock.connectors import Probed
from penstock.errors import ConnectorError
from penstock.leased import LeasedConsumer
from penstock.message import BrowsedMessage, QueueMessage
from penstock_azure.servicebus.client import CLOSE_TIMEOUT, Connection, GoneError
from penstock_azure.servicebus.wire import read

SHORTEST_WAIT = 0.05  # seconds; the client takes no 0
SHORTEST_LEASE = 1.0  # seconds, if the clocks of the service and of this machine differ by more than a lock lasts
MOST = 250  # messages that one request reads without receiving them

log = logging.getLogger("penstock.azure")


class ServiceBusMessage(QueueMessage):
    """One delivery; `message_context` is the client's own message.

    Attributes:
        link: The client's receiver that received it, whose link alone settles it quickly.
    """

    __slots__ = ("link",)

    message_context: ServiceBusReceivedMessage

    def __init__(self, received: ServiceBusReceivedMessage, link: object) -> None:
        self.link = link
        key, headers, null = read(received.application_properties)
        super().__init__(
            received, None if null else _body(received), key, headers,
            timestamp=_sent_at(received), attempts=(received.delivery_count or 0) + 1,
            position=str(received.sequence_number),
        )  # fmt: skip


class ServiceBusConsumer(LeasedConsumer[ServiceBusMessage]):
    """Reads one queue. A lock belongs to its message, so that a new connection settles what an old one received."""

    close_timeout: ClassVar[float] = CLOSE_TIMEOUT

    def __init__(self, name: str, options: Any) -> None:
        remedy = "raise the queue's lock duration"
        super().__init__(name, options, log, remedy=remedy, most=1, at_once=options.requests_at_once)
        self.server = f"Azure Service Bus at {options.address}"
        self.lease: float = options.lock_duration
        self._connection = Connection(name, options, receives=True)

    async def connect(self) -> None:
        """See `Consumer.connect`."""
        await self._connection.open()

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. The client waits up to 0.2 s for more messages after the first."""
        if max_messages < 1:
            return []
        wait = max(timeout, SHORTEST_WAIT)
        # Longer than the client's own limit: a receive that is given up may have messages.
        async with self._connection.calling(wait + self.options.timeout) as receiver:
            received = await receiver.receive_messages(max_message_count=max_messages, max_wait_time=wait)
        messages = [ServiceBusMessage(each, receiver) for each in received]
        self.leases.deliver(messages)
        self._notice_lease(messages)
        return messages

    def _notice_lease(self, messages: Sequence[ServiceBusMessage]) -> None:
        if messages and (until := messages[-1].message_context.locked_until_utc) is not None:
            left = (until - datetime.now(UTC)).total_seconds()
            self.lease = max(SHORTEST_LEASE, min(self.lease, left))

    async def delete(self, messages: Sequence[ServiceBusMessage]) -> Sequence[ServiceBusMessage]:
        """See `LeasedConsumer.delete`."""
        return () if await self._ours("complete_message", messages[0]) else messages

    async def requeue(self, messages: Sequence[ServiceBusMessage], delay: float) -> Sequence[ServiceBusMessage]:  # noqa: ARG002
        """See `LeasedConsumer.requeue`. The service has no delay for it."""
        return () if await self._ours("abandon_message", messages[0]) else messages

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`: locked for another full span from now. The client has no call for several."""
        for message in self.leases.held(messages):
            # It may have been settled meanwhile.
            if message in self.leases and not await self._ours("renew_message_lock", message):
                self.leases.lose([message])

    async def _ours(self, method: str, message: ServiceBusMessage) -> bool:
        """Call a method of the client's receiver for a message; returns whether its lock was still held."""
        settles = method != "renew_message_lock" and self._connection.is_of(message.link)
        try:
            async with self._connection.calling() if settles else self._connection.asking() as receiver:
                await getattr(receiver, method)(message.message_context)
        except GoneError:
            return False
        return True

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. By sequence number; the service does not tell what is locked from what waits."""
        if after is not None and not after.isdecimal():
            raise ConnectorError(f"{after!r} is not a position of queue {self.name!r}; a position is a sequence number")
        await self._connection.open_once()
        async with self._connection.asking() as receiver:
            peeked = await receiver.peek_messages(min(limit, MOST), sequence_number=int(after or 0) + 1)
        return [_browsed(each) for each in peeked]

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        await self._connection.open_once()
        async with self._connection.asking() as receiver:
            await receiver.peek_messages(1)  # a queue that is missing is told here first
        return [
            Probed("reachable", True, f"{self.server} answers"),
            Probed("authorised", True, "may listen"),
            Probed("exists", True, f"queue {self.name!r} exists"),
        ]

    async def close(self) -> None:
        """See `LeasedConsumer.close`."""
        await self._connection.close()


def _browsed(peeked: ServiceBusReceivedMessage) -> BrowsedMessage:
    key, headers, null = read(peeked.application_properties)
    return BrowsedMessage(
        None if null else _body(peeked), str(peeked.sequence_number), key=key, headers=headers,
        timestamp=_sent_at(peeked), attempts=peeked.delivery_count or 0,
        state="delayed" if peeked.state == ServiceBusMessageState.SCHEDULED else "unknown",
    )  # fmt: skip


def _body(received: ServiceBusReceivedMessage) -> bytes:
    if received.body_type == AmqpMessageBodyType.DATA:
        return b"".join(received.body)
    return str(received).encode()  # a value of AMQP, as some programs send text


def _sent_at(received: ServiceBusReceivedMessage) -> float | None:
    return received.enqueued_time_utc.timestamp() if received.enqueued_time_utc else None
