"""Messages of Redis Pub/Sub channels, as they come. Nothing is stored by the server: what is missed is missed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from redis.asyncio.client import PubSub

from penstock.connectors import Consumer, Probed
from penstock.errors import ConnectorError, NotConnected
from penstock.message import QueueMessage
from penstock_redis.connection import Connection
from penstock_redis.errors import ERRORS
from penstock_redis.options import channels

AT_MOST_ONCE = (
    "queue %s: Redis Pub/Sub delivers at most once: what is published while this worker is away, or more than its "
    "buffer holds, is lost; several workers each get every message"
)

log = logging.getLogger("penstock.redis")


class PubSubMessage(QueueMessage):
    """One message; `message_context` is its channel. `position` is the channel and a number that counts up here."""

    __slots__ = ("arrived",)

    def __init__(self, arrived: tuple[str, bytes, int], attempts: int = 1) -> None:
        self.arrived = arrived
        channel, body, number = arrived
        super().__init__(channel, body, attempts=attempts, position=f"{channel}/{number}")


class PubSubConsumer(Consumer):
    """Subscribes to channels or patterns, and keeps a bounded number of messages until they are asked for.

    Attributes:
        gaps: How often the subscription was interrupted; what was published meanwhile is lost.
        dropped: How many messages came while the buffer was full, and are lost.
    """

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.server = f"Redis at {options.address}"
        self.gaps = self.dropped = 0
        self._redis = Connection(name, options)
        self._buffer: deque[PubSubMessage] = deque()
        self._held: set[QueueMessage] = set()  # delivered, and not settled
        self._bytes = self._number = 0
        self._overflowing = False
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._error: ConnectorError | None = None

    async def connect(self) -> None:
        """See `Consumer.connect`. It returns when the server has confirmed each subscription."""
        again = self._reader is not None
        await self._stop_reading()
        client = await self._redis.open()
        subscription = client.pubsub()
        with ERRORS.translating(self.options.address):
            subscribe = subscription.psubscribe if self.options.patterns else subscription.subscribe
            await subscribe(*channels(self.name))
            for _channel in channels(self.name):
                while (answer := await subscription.get_message(timeout=self.options.timeout)) is not None:
                    if answer["type"] in ("subscribe", "psubscribe"):
                        break
                    self._arrive(answer)
                if answer is None:
                    raise NotConnected(f"Redis at {self.options.address} does not confirm the subscription")
        if again:
            self.gaps += 1
            log.warning(
                "queue %s: gap %d: messages published while it was not connected are lost", self.name, self.gaps
            )
        else:
            log.warning(AT_MOST_ONCE, self.name)
        self._error = None
        self._reader = asyncio.create_task(self._read(subscription))

    async def _read(self, subscription: PubSub) -> None:
        """Read always: the server disconnects a subscriber that is slow, and drops what it had for it."""
        waiting_for_pong = False
        try:
            with ERRORS.translating(self.options.address):
                while True:
                    message = await subscription.get_message(timeout=self.options.timeout)
                    if message is not None:
                        waiting_for_pong = False
                        self._arrive(message)
                    elif waiting_for_pong:
                        raise NotConnected(f"Redis at {self.options.address} does not answer a ping")
                    else:
                        # A connection that is dead looks like a channel on which nothing is published.
                        waiting_for_pong = True
                        await subscription.ping()
        except ConnectorError as error:
            self._error = error
            self._changed.set()
        finally:
            with suppress(Exception):  # it may be broken already
                await subscription.aclose()  # type: ignore[no-untyped-call]

    def _arrive(self, answer: dict[str, Any]) -> None:
        if answer["type"] not in ("message", "pmessage"):
            return
        body: bytes = answer["data"]
        self._number += 1
        if len(self._buffer) >= self.options.buffer or self._bytes + len(body) > self.options.buffer_bytes:
            self.dropped += 1
            if not self._overflowing:
                self._overflowing = True
                log.warning("queue %s: the buffer is full: messages are dropped from now on", self.name)
            return
        self._bytes += len(body)
        self._buffer.append(PubSubMessage((answer["channel"].decode("utf-8", "replace"), body, self._number)))
        self._changed.set()

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""
        deadline = monotonic() + timeout
        while not self._buffer:
            self._changed.clear()
            if self._error is not None:
                raise type(self._error)(str(self._error)) from self._error
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - monotonic())):
                    await self._changed.wait()
            if not self._buffer and monotonic() >= deadline and self._error is None:
                return []
        messages = [self._buffer.popleft() for _ in range(min(max_messages, len(self._buffer)))]
        self._bytes -= sum(len(message.arrived[1]) for message in messages)
        self._held.update(messages)
        if self._overflowing:
            self._overflowing = False
            log.warning("queue %s: there is room again; %d messages were dropped so far", self.name, self.dropped)
        return messages

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Forget the messages; the server has done so already."""
        late = len(messages) - len(self._held.intersection(messages))
        self._held.difference_update(messages)
        return late

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:  # noqa: ARG002
        """See `Consumer.on_fail`: they are delivered again out of this worker's memory, which ends with it."""
        late = 0
        for message in reversed(messages):
            if message not in self._held or not isinstance(message, PubSubMessage):
                late += 1
                continue
            self._held.remove(message)
            self._bytes += len(message.arrived[1])
            self._buffer.appendleft(PubSubMessage(message.arrived, message.attempts + 1))
        self._changed.set()
        return late

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return await self._redis.probe()

    async def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`. What waits in the buffer is lost, and counted."""
        if self._held:
            log.warning("queue %s: %d messages were not settled, and are lost", self.name, len(self._held))
            self._held.clear()  # from now on each settlement comes too late
        try:
            await self._stop_reading()
            if self._buffer:
                log.warning("queue %s: %d messages in the buffer are lost", self.name, len(self._buffer))
                self._buffer.clear()
        finally:
            await self._redis.close()
