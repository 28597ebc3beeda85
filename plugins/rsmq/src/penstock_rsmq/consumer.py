"""Messages out of an RSMQ queue, under leases that are extended, ended or requeued, always fenced."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from penstock.backoff import Backoff
from penstock.bulk import AdaptiveLimit
from penstock.connectors import Backlog, Probed
from penstock.errors import ConnectorError, FatalConnectorError
from penstock.leased import LeasedConsumer
from penstock.message import BrowsedMessage, QueueMessage
from penstock.polling import Poller
from penstock_rsmq.browsing import backlog, browse
from penstock_rsmq.client import RsmqClient
from penstock_rsmq.keys import sent_at
from penstock_rsmq.scripts import DELETE, LAG, MAX_BYTES, MAX_MESSAGES, RECEIVE, RECORD_CALLS, VISIBILITY

FIRST_PAUSE = 0.005  # seconds between two looks at a queue that has just become empty; doubled up to `poll_interval`
KEEP_MARKS = 30 * 24 * 3600  # seconds after the last mark; messages that other clients delete leave theirs behind
FIRST_MESSAGES = 50  # in the first call: the size of bodies is not known yet

log = logging.getLogger("penstock.rsmq")


class RsmqMessage(QueueMessage):
    """One delivery; `message_context` and `position` are the id, `attempts` is RSMQ's receive count.

    Attributes:
        token: The score that this delivery gave the message in the sorted set; it is ours while that stands.
    """

    __slots__ = ("token",)

    message_context: str

    def __init__(self, message_id: str, message: bytes, attempts: int, token: str, abandoned: int = 0) -> None:
        # Not through super(): this runs for every message.
        self.message_context = message_id
        self.message = message
        self.key = None
        self.headers = ()
        self.attempts = attempts
        self.position = message_id
        self.token = token
        self.abandoned = abandoned

    @property
    def timestamp(self) -> float | None:  # type: ignore[override]  # read from the id on first use
        """When it was sent."""
        return sent_at(self.message_context)


class RsmqConsumer(LeasedConsumer[RsmqMessage]):
    """Reads one queue.

    RSMQ has no order that survives a redelivery, no receive that waits on the server, and no owner of a message but the
    time until which it is hidden: a later owner leaves a later time, so that time is the fencing token.
    """

    def __init__(self, name: str, options: Any) -> None:
        # An extension changes the token that a deletion shows, so the two take turns.
        super().__init__(name, options, log, remedy="raise `vt`", most=MAX_MESSAGES)
        self.server = f"Redis at {options.address}"
        self._client = RsmqClient(name, options)
        self._browsing = RsmqClient(name, options.model_copy(update={"create": False}))
        self._poller = Poller(Backoff(initial=FIRST_PAUSE, maximum=options.poll_interval, jitter=0.0))
        self._limit = AdaptiveLimit(MAX_MESSAGES, FIRST_MESSAGES)
        self._lease_ms = 0

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before can still be settled: a token belongs to no connection."""
        own_vt = await self._client.connect()
        self.lease = own_vt if self.options.vt is None else self.options.vt
        if self.lease <= 0:
            raise FatalConnectorError(
                f"queue {self.name!r} has a vt of 0, which hides no message; set `vt` in its config"
            )
        self._lease_ms = round(self.lease * 1000)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. Looks again after 5 ms, and less and less often down to every `poll_interval`."""
        return await self._poller.poll(lambda: self._receive(max_messages), timeout)

    async def _receive(self, max_messages: int) -> list[RsmqMessage]:
        messages: list[RsmqMessage] = []
        while len(messages) < max_messages:
            wanted = min(max_messages - len(messages), self._limit.value)
            try:
                answer = await self._client.run(RECEIVE, self._lease_ms, wanted, MAX_BYTES)
            except ConnectorError:
                if messages:
                    break  # these are leased and must be worked on; the next call meets the error again
                raise
            batch = self._unpacked(answer)
            messages += batch
            if len(batch) < wanted:
                break
        self.leases.deliver(messages)
        return messages

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        """See `Consumer.claim`. It goes on until all of them are leased, some of their bodies at a time."""
        messages: list[RsmqMessage] = []
        wanted = list(positions)
        while wanted:
            batch = self._unpacked(
                await self._client.run(RECEIVE, self._lease_ms, MAX_MESSAGES, MAX_BYTES, *wanted[:MAX_MESSAGES])
            )
            if not batch:
                break
            self.leases.deliver(batch)
            messages += batch
            # Further ones of this call may wait for room, and they stand behind the last one that came.
            wanted = wanted[wanted.index(batch[-1].message_context) + 1 :]
        return messages

    def _unpacked(self, answer: Any) -> list[RsmqMessage]:
        if answer is None:
            return []
        token, heads, bodies, orphans = answer[0].decode(), answer[1].decode().split(), answer[2], answer[3]
        if orphans:
            log.warning("queue %s: %d ids without a body were removed", self.name, orphans)
        batch: list[RsmqMessage] = []
        start = 0
        for message_id, count, length in zip(*[iter(heads)] * 3, strict=True):
            end = start + int(length)
            batch.append(RsmqMessage(message_id, bodies[start:end], int(count), token))
            start = end
        if suspects := answer[4].decode().split():
            # A lease that ended in this process is not a death.
            here = self.leases.delivered_here(batch)
            for position, abandoned in zip(suspects[::2], suspects[1::2], strict=True):
                if (message := batch[int(position)]) not in here:
                    message.abandoned = int(abandoned)
        if batch:
            self._limit.fit(len(batch), len(bodies), MAX_BYTES)
        return batch

    async def delete(self, messages: Sequence[RsmqMessage]) -> Collection[RsmqMessage]:
        """See `LeasedConsumer.delete`."""
        return [messages[position] for position in await self._client.run(DELETE, _deliveries(messages))]

    async def requeue(self, messages: Sequence[RsmqMessage], delay: float) -> Collection[RsmqMessage]:
        """See `LeasedConsumer.requeue`: behind what is visible already."""
        answer = await self._client.run(VISIBILITY, round(delay * 1000), _deliveries(messages), KEEP_MARKS)
        return [messages[position] for position in answer[1:]]

    async def prolong(self, messages: Sequence[RsmqMessage]) -> Collection[RsmqMessage]:
        """See `LeasedConsumer.prolong`: under a new token."""
        token, *lost = await self._client.run(VISIBILITY, self._lease_ms, _deliveries(messages), 0)
        for message in messages:
            message.token = token.decode()
        return [messages[position] for position in lost]

    async def record_calls(self, messages: Sequence[RsmqMessage], calls: int) -> None:
        """See `LeasedConsumer.record_calls`."""
        recorded = " ".join(f"{_deliveries([message])} {calls}" for message in messages)
        await self._client.run(RECORD_CALLS, recorded, KEEP_MARKS)

    async def lag(self) -> int | None:
        """How many messages are visible now.

        Neither those in flight nor those sent or requeued with a delay that has not passed: RSMQ hides both alike.
        """
        count: int = await self._client.run(LAG)
        return count

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. Sorted by id, so in the order of sending; the cost of a page grows with the queue."""
        return await browse(self._browsing, limit, after)

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        return await backlog(self._browsing)

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return await self._client.probe()

    async def close(self) -> None:
        """See `LeasedConsumer.close`."""
        await self._client.close()
        await self._browsing.close()


def _deliveries(messages: Sequence[RsmqMessage]) -> str:
    return " ".join([f"{message.message_context} {message.token}" for message in messages])
