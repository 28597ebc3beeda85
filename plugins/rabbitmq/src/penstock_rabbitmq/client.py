"""One queue's connection: finds or creates exchange and queue, publishes and is told what was stored."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, cast
from uuid import NAMESPACE_OID, uuid5

import aio_pika
from aiormq.channel import Channel
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp.commands import Basic

from penstock.client_slot import ClientSlot
from penstock.confirmations import Confirmations
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.probes import Probed
from penstock.tls import tls_context
from penstock_rabbitmq.errors import ERRORS
from penstock_rabbitmq.options import RabbitmqOptions

CLOSE_TIMEOUT = 1.5  # seconds; the server may not be there any more
UNLIMITED_UNTIL = 4  # from this version on a quorum queue gives a message up after 20 deliveries, unless told not to
STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)  # of delays, times a power of ten: each has a queue
SHORTEST, LONGEST = 0.1, 3_000_000.0  # seconds of a delay

Publication = tuple[str, str, Basic.Properties, bytes]
"""Exchange, routing key, properties, body."""

_DIFFERENCE = re.compile(r"inequivalent arg '([^']+)'")

log = logging.getLogger("penstock.rabbitmq")

for _name in ("aiormq.connection", "aiormq.channel"):
    # It logs each error that it raises; here the engine logs a lost server, once.
    if logging.getLogger(_name).level == logging.NOTSET:
        logging.getLogger(_name).setLevel(logging.CRITICAL)


class Client:
    """A connection with one channel for a queue. It never reconnects by itself: once lost it raises `NotConnected`.

    Attributes:
        on_loss: Called when the connection or the channel is lost.
    """

    def __init__(self, name: str, options: RabbitmqOptions) -> None:
        self.name, self.options = name, options
        self.on_loss: Callable[[], None] = lambda: None
        self._slot = ClientSlot[Channel](f"queue {name!r}")
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._delay_queues: set[str] = set()

    @property
    def channel(self) -> Channel:
        """The client library's channel; see `ClientSlot.get`."""
        return self._slot.get()

    async def open(self) -> None:
        """Connect, also again; what the old connection had is delivered again."""
        await self._disconnect()
        server = self.options.server()
        async with self._translating():
            self._connection = await aio_pika.connect(
                **server,
                ssl_context=tls_context(self.options.tls or server["ssl"]),
                client_properties={"connection_name": f"penstock {self.name}"},
                heartbeat=self.options.heartbeat,
                auth=self.options.mechanism,
            )
            opened = await self._connection.channel(on_return_raises=True)
            channel = cast(Channel, await opened.get_underlay_channel())
        self._slot.put(channel)
        channel.closing.add_done_callback(partial(self._closed, channel))
        channel.on_consumer_cancel_callbacks.add(partial(self._closed, channel))

    def _closed(self, channel: Channel, why: Any) -> None:
        """The channel is closed, or the server has ended the subscription."""
        if self._slot.is_open and self.channel is channel:
            error = why.exception() if isinstance(why, asyncio.Future) and not why.cancelled() else None
            error = error or ConnectionError("the server closed the connection, or deleted the queue")
            self.lose(ERRORS.translate(error, self.options.address))

    def lose(self, error: ConnectorError) -> None:
        """Count the connection as lost."""
        self._slot.lose(error)
        self.on_loss()

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        """Limit calls to the timeout of the options, and translate the errors of the client library."""
        try:
            with ERRORS.translating(self.options.address):
                async with asyncio.timeout(self.options.timeout):
                    yield
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The client cancels what waits when its connection is lost.
            raise NotConnected(f"RabbitMQ at {self.options.address}: the connection is lost") from error

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[Channel]:
        """The channel, for calls within the time limit."""
        async with self._translating():
            yield self.channel

    async def ready(self) -> int:
        """Count the messages that wait. The server has done by then what was sent on this channel before."""
        async with self.calling() as channel:
            return (await channel.queue_declare(self.name, passive=True)).message_count or 0

    async def prepare(self, queue: bool) -> bool:
        """Find or create the exchange and, if wanted, the queue, and bind it. Returns whether all was there."""
        options, existed = self.options, True
        async with self._translating():
            if options.exchange:
                kind = {"exchange_type": options.exchange_type, "durable": options.durable}
                existed = await self._find_or_create(
                    lambda c, **how: c.exchange_declare(options.exchange, **kind, **how)
                )
            if queue or not options.exchange:
                form = {"durable": options.durable, "arguments": self._arguments()}
                existed &= await self._find_or_create(lambda c, **how: c.queue_declare(self.name, **form, **how))
            if queue and options.exchange and options.create:
                for key in [options.routing_key or self.name] if options.bindings is None else options.bindings:
                    await self.channel.queue_bind(
                        self.name, options.exchange, key, arguments=dict(options.binding_arguments)
                    )
        return existed

    def _arguments(self) -> dict[str, Any]:
        arguments = {"x-queue-type": self.options.queue_type, **self.options.arguments}
        version = str(self.channel.connection.server_properties.get("version", "0"))
        if self.options.queue_type == "quorum" and int(version.split(".")[0]) >= UNLIMITED_UNTIL:
            arguments.setdefault("x-delivery-limit", -1)
        return arguments

    async def _find_or_create(self, declare: Callable[..., Awaitable[Any]]) -> bool:
        existed, create = True, self.options.create
        try:
            await self._aside(partial(declare, passive=True))
        except ChannelNotFoundEntity:
            existed = False
            if not create:
                raise
        try:
            if create:
                await self._aside(declare)  # if it exists, the server only says what is different
        except (ChannelAccessRefused, ChannelPreconditionFailed) as error:
            if not existed:
                raise
            self._tell_difference(str(error))
        return existed

    def _tell_difference(self, text: str) -> None:
        found = _DIFFERENCE.search(text)
        if found and found[1] in ("x-queue-type", "type"):
            raise FatalConnectorError(
                f"RabbitMQ at {self.options.address}: {text}; classic queues have the connector `rabbitmq.classic`, "
                "and `exchange_type` is the type of an exchange"
            )
        if found and found[1] == "x-delivery-limit":
            log.warning(
                "queue %s has a delivery limit that is not in its configuration; the server gives a message up there, "
                "and deletes it unless the queue has a dead-letter exchange: %s", self.name, text,
            )  # fmt: skip
        elif found:
            log.warning("queue %s is not as it is configured, and stays as it is: %s", self.name, text)

    async def _aside(self, call: Callable[[Channel], Awaitable[Any]]) -> None:
        """Make a call on a channel of its own, because an error closes it."""
        assert self._connection is not None  # noqa: S101  (`channel` was asked for before)
        async with self._connection.channel(publisher_confirms=False) as channel:
            await call(cast(Channel, await channel.get_underlay_channel()))

    async def delay_queue(self, seconds: float, exchange: str, key: str) -> str:
        """The queue that keeps messages for so long, or up to a third longer, and then sends them on."""
        decade = 10.0 ** math.floor(math.log10(seconds := max(seconds, SHORTEST)))
        ms = round(decade * next(step for step in STEPS if step * decade > seconds - 1e-6) * 1000)
        name = f"penstock.delay.{ms}.{exchange}:{key}"
        if len(name.encode()) > 255:
            name = f"penstock.delay.{ms}.{uuid5(NAMESPACE_OID, name)}"
        if name not in self._delay_queues:
            # A plain dead-letter exchange forgets what its target cannot take; here it stays until the target confirms.
            arguments: dict[str, Any] = {
                "x-queue-type": "quorum", "x-message-ttl": ms, "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish", "x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key,
            }  # fmt: skip
            async with self._translating():
                await self._aside(lambda c: c.queue_declare(name, durable=True, arguments=arguments))
            self._delay_queues.add(name)
        return name

    async def publish(self, messages: Sequence[Publication]) -> dict[int, BaseException | None]:
        """Send messages, and wait until each is confirmed.

        Returns:
            What became of each, by its position: None if it is stored, else the client's error. One without an answer,
            because the connection was lost, is not there.
        """
        channel, answers = self.channel, Confirmations[BaseException | None](len(messages))
        for position, (exchange, key, properties, body) in enumerate(messages):
            mandatory = self.options.mandatory or not exchange
            sending = channel.basic_publish(
                body, exchange=exchange, routing_key=key, properties=properties, mandatory=mandatory, wait=False
            )
            asyncio.ensure_future(sending).add_done_callback(partial(_report, answers, position))
        try:
            await answers.wait(self.options.timeout)
        except NotConnected as error:
            self.lose(ERRORS.translate(TimeoutError(str(error)), self.options.address))
        return answers.reported

    async def probe(self, reads: bool) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        options, address = self.options, self.options.address
        async with self.temporary() as client:
            answers = [
                Probed("reachable", True, f"RabbitMQ at {address} answers"),
                Probed("authorised", True, f"user {options.server()['login']!r} may use its virtual host"),
            ]
            what, name = ("queue", self.name) if reads or not options.exchange else ("exchange", options.exchange)
            try:
                async with client.calling() as channel:
                    await (channel.queue_declare if what == "queue" else channel.exchange_declare)(name, passive=True)
            except NotConnected as error:
                if not options.create or not isinstance(error.__cause__, ChannelNotFoundEntity):
                    raise ConnectorError(str(error)) from error
                return [*answers, Probed("exists", True, f"{what} {name!r}: created when a worker starts")]
            return [*answers, Probed("exists", True, f"{what} {name!r} exists")]

    @asynccontextmanager
    async def temporary(self) -> AsyncIterator[Client]:
        """Another connection, for tools."""
        client = Client(self.name, self.options)
        try:
            await client.open()
            yield client
        finally:
            await client.close()

    async def close(self) -> None:
        """Idempotent."""
        self._slot.close()
        await self._disconnect()

    async def _disconnect(self) -> None:
        self._slot.take()
        self._delay_queues.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await connection.close()


def _report(answers: Confirmations[BaseException | None], position: int, sending: asyncio.Future[Any]) -> None:
    answers.report(position, asyncio.CancelledError() if sending.cancelled() else sending.exception())
