"""Messages out of a subscription, and their settlement."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from google.pubsub_v1.types import PullResponse

from penstock.bulk import AdaptiveLimit, chunks
from penstock.connectors import Consumer, Probed
from penstock.errors import ConnectorError, NotConnected
from penstock.leases import Leases, Settlements
from penstock.message import QueueMessage
from penstock.timeouts import whole_seconds
from penstock.turns import Turns
from penstock_gcp.client import LONGEST, PubSubClient, log
from penstock_gcp.errors import Refused
from penstock_gcp.options import PubSubOptions
from penstock_gcp.wire import read

MOST = 1_000  # acknowledgements of a request, which may have 512 KiB
MAX_BYTES = 32 * 2**20  # of bodies that one pull may bring, as far as the last one tells
PULL_TIMEOUT = 100.0  # seconds; the service answers an empty pull after at most 90
END_TIMEOUT = 2.0  # seconds for a pull under way to end: a cancelled one may take messages with it
SHARE = 4  # a lease counts from a moment at most a fourth of it before the messages arrived
REMEMBERED = 100_000  # messages whose deliveries are counted here


class PubSubMessage(QueueMessage):
    """A delivery; its `message_context` is the client's own `ReceivedMessage`."""

    __slots__ = ()

    def __init__(self, received: Any, attempts: int) -> None:
        message = received.message
        body, key, headers = read(message)
        published = message.publish_time
        super().__init__(
            received, body, key, headers,
            timestamp=published.seconds + published.nanos / 1e9, attempts=attempts, position=message.message_id,
        )  # fmt: skip


class PubSubConsumer(Consumer):
    """One worker of a subscription.

    Pub/Sub answers OK to an acknowledgement that comes too late, and ignores it, unless the subscription has
    exactly-once delivery. So the fence is here, and it is the clock: a lease counts from a moment at which the message
    had not arrived, and what is not confirmed within it is not ours any more.
    """

    options: PubSubOptions
    lease: float

    def __init__(self, name: str, options: PubSubOptions) -> None:
        super().__init__(name, options)
        self.server = f"Google Pub/Sub at {options.address}"
        self.lease = options.ack_deadline
        self._client = PubSubClient(name, options)
        self._leases = Leases[PubSubMessage](name, "raise `ack_deadline`", log)
        # An extension must not come after the requeue of its message, whose end it would put off.
        self._turns = Turns()
        self._settlements = Settlements(self._leases, self._turns, self._acknowledge, self._requeue, lambda: MOST)
        self._limit = AdaptiveLimit(MOST, 100)
        self._pull: asyncio.Task[list[Any]] | None = None
        self._arrived: list[tuple[Any, float]] = []  # deliveries that `consume` has not taken, and when they end
        self._deliveries: dict[str, int] = {}  # of messages that are not acknowledged, as far as they came here
        self._server_counts_so = False  # the subscription's own ack deadline is ours
        self._exactly_once = False

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before stays settleable: any connection may acknowledge it."""
        await self._end_pull()
        await self._client.open()
        found = await self._client.find_subscription(self.options.create)
        self._exactly_once = self.options.exactly_once if found is None else found.enable_exactly_once_delivery
        self._server_counts_so = found is not None and found.ack_deadline_seconds == self.options.ack_deadline
        if found is not None and found.dead_letter_policy.dead_letter_topic:
            log.warning(
                "queue %s: Pub/Sub moves a message to %s after %d deliveries, without a word of why; keep that above "
                "`retry.max_deliveries`",
                self.name, found.dead_letter_policy.dead_letter_topic, found.dead_letter_policy.max_delivery_attempts,
            )  # fmt: skip

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. A pull that brings nothing in time goes on; a later call returns its messages."""
        deadline = monotonic() + timeout
        while max_messages > 0 and not self._arrived:
            if self._pull is None:
                self._pull = asyncio.create_task(self._ask_for(min(max_messages, self._limit.value)))
            before = monotonic()  # at which nothing had arrived
            await asyncio.wait({self._pull}, timeout=max(0.0, min(deadline - before, self.lease / SHARE)))
            if self._pull.done():
                pull, self._pull = self._pull, None
                self._keep(pull.result(), before)
            if monotonic() >= deadline:
                break
        return self._deliver(max_messages)

    async def _ask_for(self, count: int) -> list[Any]:
        request = {"subscription": self._client.subscription, "max_messages": count}
        answer = PullResponse.pb(await self._client.call("pull", request, PULL_TIMEOUT))
        received = list(answer.received_messages)
        if received:
            self._limit.fit(len(received), answer.ByteSize(), MAX_BYTES)
            if not self._server_counts_so:
                # Without an answer they are ours for as long as the subscription says; the next call tells why.
                with suppress(NotConnected):
                    await self._modify(received, self.options.ack_deadline)
        return received

    def _keep(self, received: list[Any], before: float) -> None:
        until = math.inf if self._exactly_once else before + self.lease
        self._arrived += [(each, until) for each in received]

    def _deliver(self, count: int) -> list[PubSubMessage]:
        delivered: list[PubSubMessage] = []
        for received, until in self._arrived[:count]:
            delivered.append(PubSubMessage(received, received.delivery_attempt or self._counted(received)))
            self._leases.deliver(delivered[-1:], until)
        del self._arrived[:count]
        return delivered

    def _counted(self, received: Any) -> int:
        if len(self._deliveries) > REMEMBERED:
            self._deliveries.clear()  # other workers got those messages
        message_id = received.message.message_id
        count = self._deliveries[message_id] = self._deliveries.get(message_id, 0) + 1
        return count

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`."""
        return await self._settlements.delete(messages)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`."""
        return await self._settlements.requeue(messages, delay)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`."""
        for some in chunks(messages, MOST):
            async with self._turns.first():
                if held := self._leases.held(some):
                    until = math.inf if self._exactly_once else monotonic() + self.lease
                    lost = await self._modify([each.message_context for each in held], self.options.ack_deadline)
                    self._leases.lose([each for each in held if each.message_context.ack_id in lost])
                    self._leases.extend(held, until)

    async def _acknowledge(self, messages: Sequence[PubSubMessage]) -> list[PubSubMessage]:
        late = await self._settle("acknowledge", [each.message_context for each in messages])
        for each in messages:
            self._deliveries.pop(each.position, None)
        return [each for each in messages if each.message_context.ack_id in late]

    async def _requeue(self, messages: Sequence[PubSubMessage], delay: float) -> list[PubSubMessage]:
        late = await self._modify([each.message_context for each in messages], min(whole_seconds(delay), LONGEST))
        return [each for each in messages if each.message_context.ack_id in late]

    async def _modify(self, received: Sequence[Any], seconds: int) -> set[str]:
        return await self._settle("modify_ack_deadline", received, ack_deadline_seconds=seconds)

    async def _settle(self, method: str, received: Sequence[Any], **more: int) -> set[str]:
        """Call this for deliveries; returns the ack ids that, by the service's word, were not ours any more."""
        request = {"subscription": self._client.subscription, "ack_ids": [each.ack_id for each in received], **more}
        try:
            await self._client.call(method, request)
        except Refused as refused:
            # With exactly-once delivery it answers for each.
            failures: dict[str, str] = getattr(refused.__cause__, "metadata", None) or {}
            if not all(reason.startswith(("PERMANENT_", "TRANSIENT_")) for reason in failures.values()) or not failures:
                raise
            if any(reason.startswith("TRANSIENT_") for reason in failures.values()):
                raise NotConnected(f"{refused}; some acknowledgements may be repeated") from refused
            return set(failures)
        return set()

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return await self._client.probe("input")

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`."""
        try:
            await self._end_pull()
            self._deliver(len(self._arrived))
            await self._settlements.close(timeout=6.0)
        finally:
            await self._client.close()

    async def _end_pull(self) -> None:
        """Let the pull under way end, and keep what it brings."""
        if self._pull is None:
            return
        before = monotonic()
        pull, self._pull = self._pull, None
        if not (await asyncio.wait({pull}, timeout=END_TIMEOUT))[0]:
            pull.cancel()
        with suppress(ConnectorError, asyncio.CancelledError):
            self._keep(await pull, before)
