"""Records into a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from google.pubsub_v1.types import PublishRequest, PubsubMessage

from penstock.bulk import BatchLimits, bisect, produce_in_batches
from penstock.connectors import Created, Probed, Producer
from penstock.errors import ProduceError
from penstock.message import Record
from penstock_gcp.client import PubSubClient, log
from penstock_gcp.errors import Refused
from penstock_gcp.options import PubSubOptions
from penstock_gcp.wire import MOST_ATTRIBUTES, written

LARGEST = 10_000_000 - 1_000  # bytes of a message with its attributes; the rest is for the request around it
# Attributes may be twice as large as the headers that they carry.
LIMITS = BatchLimits(max_records=1_000, max_bytes=4 * 2**20)

_Message = PubsubMessage.pb()  # the client's own class, which is many times faster to make than the one around it


class PubSubProducer(Producer):
    """Publishes to one topic; a record is confirmed when Pub/Sub has given it an id."""

    options: PubSubOptions

    def __init__(self, name: str, options: PubSubOptions) -> None:
        super().__init__(name, options)
        self.server = f"Google Pub/Sub at {options.address}"
        self._client = PubSubClient(name, options)
        # Messages of a key keep their order only if one request is sent after the other.
        self._turn: AbstractAsyncContextManager[Any] = asyncio.Lock() if options.ordering else nullcontext()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._client.open()
        if await self._client.find_topic(self.options.create) is None:
            return
        if self.options.create:
            await self._client.find_subscription(True)
            return
        subscriptions = await self._client.call("list_topic_subscriptions", {"topic": self._client.topic})
        if not subscriptions.subscriptions:
            log.warning(
                "queue %s: topic %s has no subscription, so what is published to it is lost; create one, or set "
                "`create: true`",
                self.name, self._client.topic,
            )  # fmt: skip

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        async with self._turn:
            return await produce_in_batches(records, self._send, limits=LIMITS)

    async def _send(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        refused: dict[int, ProduceError] = {}
        messages: list[tuple[int, Any]] = []
        for position, record in enumerate(records):
            attributes, ordering_key = written(record, self.options.ordering)
            message = _Message(data=record.message or b"", attributes=attributes, ordering_key=ordering_key)
            if message.ByteSize() > LARGEST or len(attributes) > MOST_ATTRIBUTES:
                text = (
                    f"{message.ByteSize():,} bytes in {len(attributes)} attributes and a body; Pub/Sub takes "
                    f"{LARGEST:,} in {MOST_ATTRIBUTES}"
                )
                refused[position] = ProduceError(text, retriable=False)
            else:
                messages.append((position, message))
        if messages:
            refused |= {position: error for (position, _message), error in await bisect(messages, self._publish)}
        return refused

    async def _publish(self, messages: Sequence[tuple[int, Any]]) -> ProduceError | None:
        """Publish all of these or none."""
        request = PublishRequest.pb(PublishRequest(topic=self._client.topic))
        request.messages.extend([message for _position, message in messages])
        try:
            await self._client.call("publish", PublishRequest.wrap(request))
        except Refused as error:
            return ProduceError(str(error), retriable=False)
        return None

    async def create(self) -> Created:
        """See `Producer.create`. Without the subscription of the same name the topic would drop its messages."""
        client = PubSubClient(self.name, self.options)
        try:
            await client.open()
            existed = await client.find_topic(True)
            await client.find_subscription(True)
        finally:
            await client.close()
        return Created(existed is not False, f"{client.topic} and {client.subscription}")

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._client.probe("output")

    async def shutdown(self) -> None:
        """See `Producer.shutdown`; nothing is buffered, so there is nothing to flush."""
        await self._client.close()
