"""Messages out of a subscription, and their settlement."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from google.pubsub_v1.types import PullResponse

from penstock.bulk import AdaptiveLimit
from penstock.connectors import Probed
from penstock.errors import NotConnected
from penstock.leased import LeasedConsumer
from penstock.message import QueueMessage
from penstock.receives import Receives
from penstock.timeouts import whole_seconds
from penstock_gcp.client import LONGEST, PubSubClient, log
from penstock_gcp.errors import Refused
from penstock_gcp.options import PubSubOptions
from penstock_gcp.wire import read

MOST = 1_000  # acknowledgements of a request, which may have 512 KiB
MAX_BYTES = 32 * 2**20  # of bodies that one pull may bring, as far as the last one tells
PULL_TIMEOUT = 100.0  # seconds; the service answers an empty pull after at most 90
END_TIMEOUT = 2.0  # seconds for a pull under way to end: a cancelled one may take messages with it
PAUSES = (0.1, 0.3, 1.0)  # seconds between calls for acknowledgements that failed for a while
SHARE = 4  # a lease counts from a moment at most a fourth of it before the messages arrived
REMEMBERED = 100_000  # messages whose deliveries are counted here


class PubSubMessage(QueueMessage):
    """A delivery; its `message_context` is the client's own `ReceivedMessage`.

    Attributes:
        until: When its lease ends, by `time.monotonic`.
    """

    __slots__ = ("until",)

    def __init__(self, received: Any, attempts: int, until: float) -> None:
        message = received.message
        body, key, headers = read(message)
        published = message.publish_time
        super().__init__(
            received, body, key, headers,
            timestamp=published.seconds + published.nanos / 1e9, attempts=attempts, position=message.message_id,
        )  # fmt: skip
        self.until = until


class PubSubConsumer(LeasedConsumer[PubSubMessage]):
    """One worker of a subscription.

    Pub/Sub answers OK to an acknowledgement that comes too late, and ignores it, unless the subscription has
    exactly-once delivery. So the fence is here, and it is the clock: a lease counts from a moment at which the message
    had not arrived, and what is not confirmed within it is not ours any more.
    """

    options: PubSubOptions
    lease: float

    def __init__(self, name: str, options: PubSubOptions) -> None:
        # An extension must not come after the requeue of its message, whose end it would put off.
        super().__init__(name, options, log, remedy="raise `ack_deadline`", most=MOST)
        self.server = f"Google Pub/Sub at {options.address}"
        self.lease = options.ack_deadline
        self._client = PubSubClient(name, options)
        self._receives = Receives(name, self._receive, None, max_messages=MOST)
        self._limit = AdaptiveLimit(MOST, 100)
        self._deliveries: dict[str, int] = {}  # of messages that are not acknowledged, as far as they came here
        self._server_counts_so = False  # the subscription's own ack deadline is ours
        self._exactly_once = False

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before can still be settled: any connection may acknowledge it."""
        await self._receives.end(END_TIMEOUT)
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
        return self._deliver(await self._receives.take(max_messages, timeout))

    def _deliver(self, messages: list[PubSubMessage]) -> list[PubSubMessage]:
        for message in messages:
            self.leases.deliver([message], message.until)
        return messages

    async def _receive(self, count: int) -> list[PubSubMessage]:
        request = {"subscription": self._client.subscription, "max_messages": min(count, self._limit.value)}
        pull = asyncio.ensure_future(self._client.call("pull", request, PULL_TIMEOUT))
        try:
            before = monotonic()  # at which nothing had arrived
            while not (await asyncio.wait({pull}, timeout=self.lease / SHARE))[0]:
                before = monotonic()
        finally:
            pull.cancel()
        answer = PullResponse.pb(pull.result())
        received = list(answer.received_messages)
        if received:
            self._limit.fit(len(received), answer.ByteSize(), MAX_BYTES)
            if not self._server_counts_so:
                # Without an answer they are ours for as long as the subscription says; the next call tells why.
                with suppress(NotConnected):
                    await self._modify(received, self.options.ack_deadline)
        return [
            PubSubMessage(each, each.delivery_attempt or self._counted(each), self._until(before)) for each in received
        ]

    def _until(self, since: float) -> float:
        return math.inf if self._exactly_once else since + self.lease

    def _counted(self, received: Any) -> int:
        if len(self._deliveries) > REMEMBERED:
            self._deliveries.clear()  # other workers got those messages
        message_id = received.message.message_id
        count = self._deliveries[message_id] = self._deliveries.get(message_id, 0) + 1
        return count

    async def prolong(self, messages: Sequence[PubSubMessage]) -> list[PubSubMessage]:
        """See `LeasedConsumer.prolong`."""
        until = self._until(monotonic())
        lost = await self._modify([each.message_context for each in messages], self.options.ack_deadline)
        self.leases.extend(messages, until)
        return [each for each in messages if each.message_context.ack_id in lost]

    async def delete(self, messages: Sequence[PubSubMessage]) -> list[PubSubMessage]:
        """See `LeasedConsumer.delete`."""
        late = await self._settle("acknowledge", [each.message_context for each in messages])
        for each in messages:
            self._deliveries.pop(each.position, None)
        return [each for each in messages if each.message_context.ack_id in late]

    async def requeue(self, messages: Sequence[PubSubMessage], delay: float) -> list[PubSubMessage]:
        """See `LeasedConsumer.requeue`."""
        late = await self._modify([each.message_context for each in messages], min(whole_seconds(delay), LONGEST))
        return [each for each in messages if each.message_context.ack_id in late]

    async def _modify(self, received: Sequence[Any], seconds: int) -> set[str]:
        return await self._settle("modify_ack_deadline", received, ack_deadline_seconds=seconds)

    async def _settle(self, method: str, received: Sequence[Any], **more: int) -> set[str]:
        """Call this for deliveries; returns the ack ids that, by the service's word, were not ours any more.

        With exactly-once delivery the service answers for each. Those that failed for a while are sent again by
        themselves: the others are settled, and to settle them twice would fail.
        """
        late: set[str] = set()
        waiting = [each.ack_id for each in received]
        for pause in (*PAUSES, None):
            try:
                await self._client.call(method, {"subscription": self._client.subscription, "ack_ids": waiting, **more})
            except Refused as refused:
                failures: dict[str, str] = getattr(refused.__cause__, "metadata", None) or {}
                kinds = {reason.partition("_")[0] for reason in failures.values()}
                if not kinds or not kinds <= {"PERMANENT", "TRANSIENT"}:
                    raise
                waiting = [each for each, reason in failures.items() if reason.startswith("TRANSIENT_")]
                late.update(failures.keys() - waiting)
                if waiting and pause is None:
                    raise NotConnected(f"{refused}; {len(waiting)} acknowledgements may be repeated") from refused
            else:
                break
            if not waiting:
                break
            await asyncio.sleep(pause or 0.0)
        return late

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return await self._client.probe("input")

    async def collect(self) -> None:
        """See `LeasedConsumer.collect`."""
        self._deliver(await self._receives.close(END_TIMEOUT))

    async def close(self) -> None:
        """See `LeasedConsumer.close`."""
        await self._client.close()
