"""Messages out of a queue, and their settlement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from time import monotonic
from typing import Any
from uuid import uuid4

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from penstock.connectors import Backlog, Probed
from penstock.errors import ConnectorError, NotConnected
from penstock.leased import LeasedConsumer
from penstock.message import Headers, QueueMessage
from penstock_rabbitmq.client import LONGEST, Client, Publication
from penstock_rabbitmq.options import RabbitmqOptions
from penstock_rabbitmq.wire import DELIVERIES, KEY, NULL, SERVERS, deliveries, read_headers

log = logging.getLogger("penstock.rabbitmq")

RETURNED_WITHIN = 1.0  # seconds after which a quorum queue counts what was requeued
MAX_REMEMBERED = 100_000  # messages that were requeued, of a queue that does not count deliveries


class RabbitmqMessage(QueueMessage):
    """A delivery; its `message_context` is the client's own `DeliveredMessage`.

    Attributes:
        tag: The number of the delivery on its channel.
    """

    __slots__ = ("tag",)

    message_context: DeliveredMessage

    def __init__(self, delivery: DeliveredMessage, seen: int) -> None:
        # Not through super(): this runs for every message.
        properties = delivery.header.properties
        table: Mapping[str, Any] = properties.headers or {}
        counted = deliveries(table)
        if counted is None:
            counted = max(seen, bool(delivery.redelivered))
        self.message_context = delivery
        self.tag = delivery.delivery_tag or 0
        self.message = None if NULL in table and not delivery.body else delivery.body
        self.key = bytes(table[KEY]) if KEY in table else None
        self.attempts = 1 + counted + table.get(DELIVERIES, 0)
        self.position = properties.message_id or f"delivery {self.tag}"
        self.timestamp = properties.timestamp.timestamp() if properties.timestamp else None
        self.abandoned = None  # a death and a requeue are counted alike

    @property
    def headers(self) -> Headers:  # type: ignore[override]  # read on first use
        """Header pairs."""
        table = self.message_context.header.properties.headers
        return read_headers(table) if table else ()


class RabbitmqConsumer(LeasedConsumer[RabbitmqMessage]):
    """Reads one queue.

    A delivery belongs to its channel: when that is closed, the server delivers again what was not settled. So the
    fence is the channel, and there are no leases to extend.
    """

    options: RabbitmqOptions

    def __init__(self, name: str, options: RabbitmqOptions) -> None:
        super().__init__(name, options, log, remedy="see the log for why the connection was lost", most=10_000)
        self.server = f"RabbitMQ at {options.address}"
        self._client = Client(name, options)
        self._client.on_loss = lambda: self._wake.set()
        self._wake = asyncio.Event()
        self._arrived: list[DeliveredMessage] = []
        self._unsettled: dict[int, None] = {}  # tags of the channel's deliveries, in their order
        self._subscription, self._room = "", 0
        self._requeued: dict[str, int] = {}  # by position, where the server does not count deliveries
        self._returned = (0.0, 0)  # until when so many requeued messages may not be counted yet
        self._closing = False

    async def connect(self) -> None:
        """See `Consumer.connect`. A connection that still answers is kept, with its deliveries."""
        with suppress(ConnectorError):
            await self._client.ready()
            return
        self.leases.connection_lost()
        self._arrived.clear()
        self._unsettled.clear()
        self._room = 0
        await self._client.open()
        await self._client.prepare(queue=True)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""
        deadline = monotonic() + timeout
        await self._make_room(len(self.leases) + max_messages)
        while not self._arrived:
            self._wake.clear()
            _ = self._client.channel  # raises if it was lost
            if (left := deadline - monotonic()) <= 0:
                return []
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
        return self._deliver(max_messages)

    async def _make_room(self, wanted: int) -> None:
        """Let the server send no more than the engine has asked for at most: a subscription's prefetch is fixed."""
        if (wanted := min(wanted, self.options.prefetch)) <= self._room:
            return
        room = min(self.options.prefetch, max(wanted, 2 * self._room))
        async with self._client.calling() as channel:
            if self._room:
                await channel.basic_cancel(self._subscription)
            await channel.basic_qos(prefetch_count=room)
            self._subscription = (await channel.basic_consume(self.name, self._on_message)).consumer_tag or ""
            self._room = room

    async def _on_message(self, delivery: DeliveredMessage) -> None:
        self._unsettled[delivery.delivery_tag or 0] = None
        self._arrived.append(delivery)
        if delivery.redelivered:
            self._returned = (self._returned[0], self._returned[1] - 1)
        self._wake.set()

    def _deliver(self, count: int) -> list[RabbitmqMessage]:
        arrived, self._arrived = self._arrived[:count], self._arrived[count:]
        seen = self._requeued
        messages = [RabbitmqMessage(each, seen.get(each.header.properties.message_id or "", 0)) for each in arrived]
        self.leases.deliver(messages)
        return messages

    async def delete(self, messages: Sequence[RabbitmqMessage]) -> Sequence[RabbitmqMessage]:
        """See `LeasedConsumer.delete`."""
        tags = {message.tag for message in messages}
        # One acknowledgement for all that are the oldest, one for each of the others.
        oldest = 0
        for tag in self._unsettled:
            if tag not in tags:
                break
            oldest = tag

        async def acknowledge(channel: Channel) -> None:
            if oldest:
                await channel.basic_ack(oldest, multiple=True, wait=False)
            for tag in sorted(tag for tag in tags if tag > oldest):
                await channel.basic_ack(tag, wait=False)

        return await self._settle(messages, acknowledge)

    async def requeue(self, messages: Sequence[RabbitmqMessage], delay: float) -> Sequence[RabbitmqMessage]:
        """See `LeasedConsumer.requeue`. With a delay, a copy is stored in the queue of that delay first."""
        if delay:
            await self._store_copies(messages, min(delay, LONGEST))
            return await self.delete(messages)

        async def reject(channel: Channel) -> None:
            # From RabbitMQ 4.3 on only a rejection counts as a delivery that failed, not a requeue at shutdown.
            call = channel.basic_nack if self._closing else channel.basic_reject
            for message in messages:
                await call(message.tag, requeue=True, wait=False)

        self._returned = (monotonic() + RETURNED_WITHIN, len(messages))
        if self.options.queue_type == "classic":
            if len(self._requeued) > MAX_REMEMBERED:
                self._requeued.clear()  # other workers got those messages
            self._requeued.update({message.position: message.attempts for message in messages})
        return await self._settle(messages, reject)

    async def _settle(
        self, messages: Sequence[RabbitmqMessage], write: Callable[[Channel], Awaitable[None]]
    ) -> Sequence[RabbitmqMessage]:
        """Settle, and wait until the server has done it. Returns those that were late."""
        try:
            async with self._client.calling() as channel:
                await write(channel)
            await self._client.ready()
        except NotConnected as error:
            # What the server has not settled by now it delivers again, to whichever connection.
            self._client.lose(error)
            return messages
        for message in messages:
            self._unsettled.pop(message.tag, None)
        return ()

    async def _store_copies(self, messages: Sequence[RabbitmqMessage], delay: float) -> None:
        queue = await self._client.delay_queue(delay, "", self.name)
        outcomes = await self._client.publish([_copy(message, queue) for message in messages])
        if len(outcomes) < len(messages) or any(outcomes.values()):
            raise NotConnected(f"{self.server}: not every message was stored in queue {queue!r}, which delays them")

    async def lag(self) -> int | None:
        """See `Consumer.lag`. Without what is delayed: the server cannot count it for this queue alone."""
        waiting = await self._client.ready() + len(self._arrived)
        until, returned = self._returned
        return max(waiting, returned) if monotonic() < until else waiting

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        async with self._client.temporary() as client:
            return Backlog(waiting=await client.ready())

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return await self._client.probe(reads=True)

    async def collect(self) -> None:
        """See `LeasedConsumer.collect`."""
        self._closing = True
        with suppress(ConnectorError, TimeoutError):
            async with asyncio.timeout(1.0), self._client.calling() as channel:
                await channel.basic_cancel(self._subscription, nowait=True)
        self._deliver(len(self._arrived))

    async def close(self) -> None:
        """See `LeasedConsumer.close`."""
        await self._client.close()


def _copy(message: RabbitmqMessage, queue: str) -> Publication:
    """A copy of a message, to be published to another queue."""
    properties = copy(message.message_context.header.properties)
    headers = {name: value for name, value in (properties.headers or {}).items() if not name.startswith(SERVERS)}
    properties.headers = {**headers, DELIVERIES: message.attempts}
    properties.message_id, properties.delivery_mode = uuid4().hex, 2
    properties.user_id = properties.expiration = None
    return "", queue, properties, message.message_context.body
