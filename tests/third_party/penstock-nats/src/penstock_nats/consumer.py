"""Messages out of a stream, and their settlement."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence

from nats.aio.msg import Msg
from penstock.connectors import Consumer
from penstock.errors import ConnectorError
from penstock.message import QueueMessage

from penstock_nats.connection import Connection
from penstock_nats.errors import connector_errors
from penstock_nats.options import NatsOptions
from penstock_nats.pull import Puller
from penstock_nats.streams import delayed, find_group, find_stream
from penstock_nats.wire import read

log = logging.getLogger("penstock.nats")

SHARE = 4
"""A request waits for at most this part of a lease, because it may be as old as that when its message arrives."""


class NatsMessage(QueueMessage):
    """A delivery; its `message_context` is the client's own `Msg`.

    Attributes:
        until: When the lease ends at the earliest, by the event loop's clock.
    """

    __slots__ = ("until",)

    def __init__(self, delivery: Msg, until: float) -> None:
        meta = delivery.metadata
        body, key, headers = read(delivery.data, delivery.headers)
        super().__init__(
            delivery, body, key, headers,
            timestamp=meta.timestamp.timestamp(), attempts=meta.num_delivered,
            position=f"{meta.stream}/{meta.sequence.stream}",
        )  # fmt: skip
        self.until = until


class NatsConsumer(Consumer):
    """One worker of a group.

    JetStream knows a message by its number in the stream, not by the delivery: an acknowledgement of a delivery whose
    lease has ended would be taken for one of the delivery that another worker has by then. So the fence is here, and it
    is the clock: a lease is counted from the moment the message was asked for, which is before the server began to count,
    and what is not confirmed within it is not ours any more.
    """

    options: NatsOptions

    def __init__(self, name: str, options: NatsOptions) -> None:
        super().__init__(name, options)
        self._connection = Connection(options)
        self._puller = Puller()
        self._stream = ""
        self._held: set[NatsMessage] = set()

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before stays settleable: any connection may acknowledge it."""
        await self._connection.open()
        client = self._connection.client
        with connector_errors(self._connection.address):
            jetstream = client.jetstream(timeout=self.options.timeout)
            version = client.connected_server_version
            self._stream = await find_stream(jetstream, self.name, self.options, (version.major, version.minor))
            info = await find_group(jetstream, self._stream, self.name, self.options)
            self.lease = info.config.ack_wait or self.options.ack_wait
            await self._puller.open(self._connection, self._stream, self.options.group)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""
        if max_messages < 1:
            return []
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        lease = self.lease or self.options.ack_wait
        if not self._puller.arrived:
            await self._puller.at_hand(max_messages)
        while not self._puller.arrived and (left := deadline - clock()) > 0:
            await self._puller.next(min(left, lease / SHARE))
            if self._puller.arrived and max_messages > 1:
                await self._puller.at_hand(max_messages - 1)
        arrived = self._puller.arrived
        messages = [NatsMessage(delivery, asked + lease) for delivery, asked in arrived[:max_messages]]
        del arrived[:max_messages]
        self._held.update(messages)
        return messages

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`."""
        return len(messages) - await self._settle(messages, b"+ACK")

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`."""
        word = b"-NAK " + json.dumps({"delay": int(delay * 1e9)}).encode() if delay else b"-NAK"
        return len(messages) - await self._settle(messages, word)

    async def _settle(self, messages: Sequence[QueueMessage], word: bytes) -> int:
        ours = self._ours(messages)
        await self._tell(ours, word)
        self._held.difference_update(ours)
        return len(ours)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`."""
        ours = self._ours(messages)
        clock = asyncio.get_running_loop().time
        asked = clock()
        await self._tell(ours, b"+WPI")
        answered = clock()
        for message in ours:
            # Answered too late, and it may have been another's lease that was extended.
            message.until = asked + (self.lease or 0.0) if answered < message.until else answered
        self._ours(ours)

    def _ours(self, messages: Sequence[QueueMessage]) -> list[NatsMessage]:
        """Those that are not settled, and whose lease has not ended; the others are forgotten."""
        now = asyncio.get_running_loop().time()
        held = [message for message in messages if message in self._held and isinstance(message, NatsMessage)]
        ours = [message for message in held if now < message.until]
        if len(ours) < len(held):
            log.warning("queue %s: %d leases ended before they were extended", self.name, len(held) - len(ours))
            self._held.difference_update(message for message in held if now >= message.until)
        return ours

    async def _tell(self, messages: Sequence[NatsMessage], word: bytes) -> None:
        """Say a word about deliveries; the server has understood it when this returns."""
        await self._connection.ask([(message.message_context.reply, word, None) for message in messages])

    async def lag(self) -> int | None:
        """See `Consumer.lag`. What other workers have in flight counts as waiting: the server does not tell apart."""
        with connector_errors(self._connection.address):
            jetstream = self._connection.client.jetstream(timeout=self.options.timeout)
            later = await delayed(jetstream, self._stream, self.name)
            info = await jetstream.consumer_info(self._stream, self.options.group)
        # A record whose delay ends between the two counts twice, which is better than not at all.
        return later + (info.num_pending or 0) + max(0, (info.num_ack_pending or 0) - len(self._held))

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`."""
        held = [message.message_context for message in self._ours(list(self._held))]
        # In their order: the server delivers them again in the order in which they are requeued.
        back = sorted([*held, *(delivery for delivery, _asked in self._puller.arrived)], key=_number)
        self._puller.arrived.clear()
        try:
            await self._connection.ask([(delivery.reply, b"-NAK", None) for delivery in back])
        except ConnectorError as error:
            # Nothing is lost, only late.
            log.warning("queue %s: unsettled messages come back when their leases end: %s", self.name, error)
        finally:
            self._held.clear()
            await self._connection.close()


def _number(delivery: Msg) -> int:
    """Of a message in its stream."""
    return delivery.metadata.sequence.stream
