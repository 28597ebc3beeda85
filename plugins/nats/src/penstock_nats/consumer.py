"""Messages out of a stream, and their settlement."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from time import monotonic

from nats.aio.msg import Msg

from penstock.connectors import Backlog, Consumer, Probed
from penstock.leases import Leases
from penstock.message import BrowsedMessage, QueueMessage
from penstock_nats.connection import Connection
from penstock_nats.looking import Looker
from penstock_nats.options import NatsOptions
from penstock_nats.pull import Puller
from penstock_nats.streams import delayed, find_group, find_stream
from penstock_nats.wire import read

log = logging.getLogger("penstock.nats")

SHARE = 4
"""A request waits for at most this part of a lease, because it may be as old as that when its message arrives."""


class NatsMessage(QueueMessage):
    """A delivery; its `message_context` is the client's own `Msg`."""

    __slots__ = ()

    def __init__(self, delivery: Msg) -> None:
        meta = delivery.metadata
        body, key, headers = read(delivery.data, delivery.headers)
        super().__init__(
            delivery, body, key, headers,
            timestamp=meta.timestamp.timestamp(), attempts=meta.num_delivered,
            position=f"{meta.stream}/{meta.sequence.stream}",
        )  # fmt: skip


class NatsConsumer(Consumer):
    """One worker of a group.

    JetStream knows a message by its number in the stream, not by the delivery: an acknowledgement of a delivery whose
    lease has ended would be taken for one of the delivery that another worker has by then. So the fence is here, and it
    is the clock: a lease is counted from the moment the message was asked for, before the server began to count, and
    what is not confirmed within it is not ours any more.
    """

    options: NatsOptions
    lease: float

    def __init__(self, name: str, options: NatsOptions) -> None:
        super().__init__(name, options)
        self.lease = options.ack_wait
        self.server = f"NATS at {options.servers}"
        self._connection = Connection(options)
        self._looking = Looker(name, options)
        self._puller = Puller(self._connection)
        self._stream = ""
        self._leases = Leases[NatsMessage](name, "raise the group's ack_wait", log)

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before can still be settled: any connection may acknowledge it."""
        await self._connection.open()
        with self._connection.jetstream() as jetstream:
            self._stream = await find_stream(jetstream, self.name, self.options, self._connection.has_schedules)
            info = await find_group(jetstream, self._stream, self.name, self.options)
            self.lease = info.config.ack_wait or self.options.ack_wait
            await self._puller.open(self._stream, self.options.group)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""
        if max_messages < 1:
            return []
        deadline = monotonic() + timeout
        puller = self._puller
        if not puller.arrived:
            await puller.pull(max_messages)
        while not puller.arrived and (left := deadline - monotonic()) > 0:
            await puller.pull(1, min(left, self.lease / SHARE))
            if puller.arrived and max_messages > 1:
                await puller.pull(max_messages - 1)
        return self._deliver(max_messages)

    def _deliver(self, count: int) -> list[NatsMessage]:
        """Take messages that have arrived; their leases count from when they were asked for."""
        arrived = self._puller.arrived
        delivered: list[NatsMessage] = []
        for delivery, asked in arrived[:count]:
            delivered.append(NatsMessage(delivery))
            self._leases.deliver(delivered[-1:], until=asked + self.lease)
        del arrived[:count]
        return delivered

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`."""
        return await self._settle(messages, b"+ACK")

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`."""
        word = b"-NAK " + json.dumps({"delay": int(delay * 1e9)}).encode() if delay else b"-NAK"
        return await self._settle(messages, word)

    async def _settle(self, messages: Sequence[QueueMessage], word: bytes) -> int:
        held = self._leases.held(messages)
        await self._acknowledge(held, word)
        self._leases.settle(held)
        return len(messages) - len(held)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`."""
        asked, held = monotonic(), self._leases.held(messages)
        await self._acknowledge(held, b"+WPI")
        # One that has ended meanwhile is lost: it may have been another worker's lease that was extended.
        self._leases.extend(held, until=asked + self.lease)

    async def _acknowledge(self, messages: Sequence[NatsMessage], word: bytes) -> None:
        """Send an acknowledgement of this kind for each delivery; the server has handled it when this returns."""
        await self._connection.ask([(message.message_context.reply, word, {}) for message in messages])

    async def lag(self) -> int | None:
        """See `Consumer.lag`. What other workers have in flight counts as waiting: the server cannot tell it apart."""
        with self._connection.jetstream() as jetstream:
            later = await delayed(jetstream, self._stream, self.name)
            info = await jetstream.consumer_info(self._stream, self.options.group)
        # A record whose delay ends between the two counts twice, which is better than not at all.
        return later + (info.num_pending or 0) + max(0, (info.num_ack_pending or 0) - len(self._leases))

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. The stream shows all that it keeps, also what is settled."""
        return await self._looking.browse(limit, after)

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        return await self._looking.backlog()

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return await self._looking.probe(self.options.group)

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`."""

        async def requeue(held: list[NatsMessage]) -> None:
            # In their order: the server delivers them again in the order in which they are requeued.
            await self._acknowledge(sorted(held, key=lambda m: m.message_context.metadata.sequence.stream), b"-NAK")

        self._deliver(len(self._puller.arrived))
        try:
            await self._leases.release(requeue)
        finally:
            await self._connection.close()
            await self._looking.close()
