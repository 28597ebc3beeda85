"""Messages out of a queue of SQS, under leases that only this worker's clock can fence."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import Any

from penstock.connectors import Backlog, Probed
from penstock.errors import NotConnected
from penstock.leased import LeasedConsumer
from penstock.message import QueueMessage
from penstock.receives import Receives
from penstock.timeouts import whole_seconds
from penstock_aws.options import SqsOptions
from penstock_aws.queue import DELAYED, IN_FLIGHT, WAITING, SqsQueue
from penstock_aws.sending import OURS
from penstock_aws.wire import read, unwrapped

MOST = 10  # messages in a call
AT_ONCE = 20  # settlements or extensions under way
LONGEST = 43_200  # seconds from its delivery for which SQS hides a message at most
SHARE = 4  # a request waits for at most this part of a lease, which counts from before the request
FINISH = 5.5  # seconds of a shutdown for the requests under way; the rest is for requeueing

log = logging.getLogger("penstock.aws")


class SqsMessage(QueueMessage):
    """One delivery; its `message_context` is the message as boto3 gives it, without its body.

    Attributes:
        asked: When it was asked for, by `time.monotonic`; SQS began to hide it later.
    """

    __slots__ = ("asked",)

    def __init__(self, message: dict[str, Any], asked: float, unwrap: bool) -> None:
        text, attributes = message.pop("Body"), message.get("MessageAttributes", {})
        if unwrap:
            text, attributes = unwrapped(text, attributes)
        body, key, headers = read(text, attributes)
        system = message["Attributes"]
        group = system.get("MessageGroupId", "")
        if key is None and group and not group.startswith(OURS):
            key = group.encode()
        super().__init__(
            message, body, key, headers,
            timestamp=int(system["SentTimestamp"]) / 1000, attempts=int(system["ApproximateReceiveCount"]),
            position=message["MessageId"],
        )  # fmt: skip
        self.asked = asked


class SqsConsumer(LeasedConsumer[SqsMessage]):
    """Reads one queue.

    SQS may take a deletion for a delivery that another worker has by now. So the fence is here, and it is the clock: a
    lease counts from before the request that brought the message; what is not settled within it is not ours any more.
    """

    options: SqsOptions
    lease: float

    def __init__(self, name: str, options: SqsOptions) -> None:
        remedy = "raise `visibility_timeout`; SQS ends each lease after 12 hours"
        super().__init__(name, options, log, remedy=remedy, most=MOST, at_once=AT_ONCE)
        self.lease = options.visibility_timeout
        self._queue = SqsQueue(name, options)
        self.server = self._queue.server
        self._wait = max(1, min(options.wait_time, options.visibility_timeout // SHARE))
        self._receives = Receives(name, self._receive, log, max_messages=MOST, at_once=options.receives)
        self._warned = False

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before can still be settled: any connection may settle it."""
        redrive = json.loads((await self._queue.open()).get("RedrivePolicy") or "{}")
        if redrive and not self._warned:
            self._warned = True
            log.warning(
                "queue %s: SQS itself moves a message to %s after %s deliveries, without a reason; let the engine's "
                "`retry.max_deliveries` be lower, and its dead-letter queue gets it",
                self.name, redrive.get("deadLetterTargetArn"), redrive.get("maxReceiveCount"),
            )  # fmt: skip

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""
        return self._deliver(await self._receives.take(max_messages, timeout))

    def _deliver(self, messages: list[SqsMessage]) -> list[SqsMessage]:
        for message in messages:
            self.leases.deliver([message], until=message.asked + self.lease)
        return messages

    async def _receive(self, count: int) -> list[SqsMessage]:
        asked = monotonic()
        answer = await self._queue.call(
            "receive_message", self._wait, MaxNumberOfMessages=count, WaitTimeSeconds=self._wait,
            VisibilityTimeout=self.options.visibility_timeout, MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )  # fmt: skip
        return [SqsMessage(message, asked, self.options.unwrap_sns) for message in answer.get("Messages", ())]

    async def delete(self, messages: Sequence[SqsMessage]) -> Collection[SqsMessage]:
        """See `LeasedConsumer.delete`."""
        return await self._each("delete_message_batch", {message: {} for message in messages})

    async def requeue(self, messages: Sequence[SqsMessage], delay: float) -> Collection[SqsMessage]:
        """See `LeasedConsumer.requeue`."""
        now = monotonic()
        return await self._change({message: min(whole_seconds(delay), _left(message, now)) for message in messages})

    async def prolong(self, messages: Sequence[SqsMessage]) -> Collection[SqsMessage]:
        """See `LeasedConsumer.prolong`. At the end of the 12 hours that SQS allows, a lease is left to its end."""
        asked = monotonic()
        seconds = {message: left for message in messages if (left := min(int(self.lease), _left(message, asked)))}
        if not seconds:
            return ()
        late = await self._change(seconds)
        for message, left in seconds.items():
            self.leases.extend([message], until=asked + left)
        return late

    async def _change(self, seconds: Mapping[SqsMessage, int]) -> Collection[SqsMessage]:
        entries = {message: {"VisibilityTimeout": visible_in} for message, visible_in in seconds.items()}
        return await self._each("change_message_visibility_batch", entries)

    async def _each(self, operation: str, entries: Mapping[SqsMessage, Mapping[str, Any]]) -> Collection[SqsMessage]:
        """Make one call for up to ten messages; returns those whose deliveries SQS knows no more."""
        numbered = [
            {"Id": str(number), "ReceiptHandle": message.message_context["ReceiptHandle"], **entry}
            for number, (message, entry) in enumerate(entries.items())
        ]
        failed = (await self._queue.call(operation, Entries=numbered)).get("Failed", ())
        if again := next((entry for entry in failed if not entry["SenderFault"]), None):
            raise NotConnected(f"{self.server}: {again['Code']}: {again.get('Message', '')}")
        messages = list(entries)
        return [messages[int(entry["Id"])] for entry in failed]

    async def lag(self) -> int | None:
        """See `Consumer.lag`. What other workers have in flight counts as waiting: SQS cannot tell it apart from what a
        request under way has fetched for us, and from what a requeue delays."""
        counts = await self._queue.attributes()
        return int(counts[WAITING]) + int(counts[DELAYED]) + max(0, int(counts[IN_FLIGHT]) - len(self.leases))

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        return await self._queue.backlog()

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return await self._queue.probe()

    async def collect(self) -> None:
        """See `LeasedConsumer.collect`."""
        self._deliver(await self._receives.close(FINISH))

    async def close(self) -> None:
        """See `LeasedConsumer.close`."""
        await self._queue.aws.close()


def _left(message: SqsMessage, now: float) -> int:
    """Whole seconds for which SQS may hide a delivery from now on."""
    return max(0, int(message.asked + LONGEST - now))
