"""Messages out of a list, under leases that are always fenced; or raw, as other programs take them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from penstock.backoff import Backoff
from penstock.bulk import AdaptiveLimit
from penstock.connectors import Backlog, Probed
from penstock.leased import LeasedConsumer
from penstock.message import QueueMessage
from penstock.polling import Poller
from penstock_redis.connection import MAX_BYTES, MAX_MESSAGES, Connection
from penstock_redis.lists.keys import COUNT, SETTLE, TAKE, list_keys
from penstock_redis.lists.producer import push

FIRST_PAUSE = 0.005  # seconds between two looks at a list that has just become empty; doubled up to `poll_interval`
FIRST_MESSAGES = 50  # in the first call: the size of bodies is not known yet
RAW = (
    "queue %s: `raw` takes messages out of Redis before they are worked on: a worker that is killed loses those that "
    "it has, and no attempts are counted"
)

log = logging.getLogger("penstock.redis")


class ListMessage(QueueMessage):
    """One delivery; `message_context` and `position` are the number under which it was taken.

    Attributes:
        delivery: Number and count, which the server compares.
    """

    __slots__ = ("delivery",)

    def __init__(self, number: str, message: bytes, attempts: int, abandoned: int) -> None:
        super().__init__(number, message, attempts=attempts, position=number, abandoned=abandoned)
        self.delivery = f"{number} {attempts}"


class ListConsumer(LeasedConsumer[ListMessage]):
    """Takes from one list. What is taken moves into a hash beside the list, under a number that counts up."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options, log, remedy="raise `lease`", most=MAX_MESSAGES)
        self.server = f"Redis at {options.address}"
        self.lease = None if options.raw else options.lease
        self._lease_ms = 0 if options.raw else round(options.lease * 1000)
        self._redis = Connection(name, options, list_keys(name))
        self._poller = Poller(Backoff(initial=FIRST_PAUSE, maximum=options.poll_interval, jitter=0.0))
        self._limit = AdaptiveLimit(MAX_MESSAGES, FIRST_MESSAGES)
        self._warned = not options.raw

    async def connect(self) -> None:
        """See `Consumer.connect`."""
        await self._redis.open()
        await self._redis.run(COUNT)
        await self._redis.warn_once()
        if not self._warned:
            self._warned = True
            log.warning(RAW, self.name)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. Looks again after 5 ms, and less and less often down to every `poll_interval`."""
        return await self._poller.poll(lambda: self._take(max_messages), timeout)

    async def _take(self, max_messages: int) -> list[ListMessage]:
        count = min(max_messages, self._limit.value)
        heads, bodies = await self._redis.run(TAKE, self.options.take_from[0].upper(), self._lease_ms, count, MAX_BYTES)
        messages: list[ListMessage] = []
        start = 0
        for number, attempts, length, abandoned in zip(*[iter(heads.decode().split())] * 4, strict=True):
            end = start + int(length)
            messages.append(ListMessage(number, bodies[start:end], int(attempts), int(abandoned)))
            start = end
        if messages:
            # A lease that ended in this process is not a death.
            for message in self.leases.delivered_here(messages):
                message.abandoned = 0
            self.leases.deliver(messages)
            self._limit.fit(len(messages), len(bodies), MAX_BYTES)
        return messages

    async def delete(self, messages: Sequence[ListMessage]) -> Collection[ListMessage]:
        """See `LeasedConsumer.delete`."""
        return () if self.options.raw else await self._fenced("settle", messages, 0)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: before all others at once, or after `delay` seconds."""
        late = await super().on_fail(messages, delay)
        self._poller.wake()
        return late

    async def requeue(self, messages: Sequence[ListMessage], delay: float) -> Collection[ListMessage]:
        """See `LeasedConsumer.requeue`."""
        if not self.options.raw:
            return await self._fenced("requeue", messages, round(delay * 1000))
        # The oldest is pushed last, because it is to be taken first.
        oldest_last = sorted(messages, key=lambda message: int(message.delivery.split()[0]), reverse=True)
        bodies = [(message.message or b"", delay) for message in oldest_last]
        await push(self._redis, self.options.take_from, bodies)
        return ()

    async def prolong(self, messages: Sequence[ListMessage]) -> Collection[ListMessage]:
        """See `LeasedConsumer.prolong`."""
        return await self._fenced("extend", messages, self._lease_ms)

    async def record_calls(self, messages: Sequence[ListMessage], calls: int) -> None:
        """See `LeasedConsumer.record_calls`."""
        await self._fenced("calls", messages, calls)

    async def _fenced(self, what: str, messages: Sequence[ListMessage], number: int) -> list[ListMessage]:
        """Do it for those of these deliveries that are still ours; returns the others."""
        deliveries = " ".join([message.delivery for message in messages])
        return [messages[position] for position in await self._redis.run(SETTLE, deliveries, what, number)]

    async def lag(self) -> int | None:
        """How many messages wait, those that a delay holds back among them."""
        waiting, _in_flight, delayed = await self._redis.run(COUNT)
        return int(waiting + delayed)

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        await self._redis.open()
        return Backlog(*await self._redis.run(COUNT))

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        answers = await self._redis.probe()
        await self._redis.run(COUNT)
        return [*answers, Probed("authorised", True, "may run scripts")]

    async def close(self) -> None:
        """See `LeasedConsumer.close`."""
        await self._redis.close()
