"""Records to a topic of SNS. To consume them, subscribe a queue of SQS to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.connectors import Probed, Producer
from penstock.errors import ProduceError
from penstock.message import Record
from penstock_aws.client import Aws
from penstock_aws.options import SnsOptions, Target
from penstock_aws.sending import Sender

MAX_BYTES = 262_144  # of one call; all topics take that

log = logging.getLogger("penstock.aws")


class SnsProducer(Producer):
    """Publishes to one topic. A record is confirmed when SNS has stored it, not when a queue has it."""

    options: SnsOptions

    def __init__(self, name: str, options: SnsOptions) -> None:
        super().__init__(name, options)
        target = Target.parse(name)
        self._aws = Aws("sns", f"topic {target.name!r}", options, target.region)
        self.server = f"AWS at {self._aws.address}"
        self._sender = Sender(self._send, "Message", MAX_BYTES, target.name.endswith(".fifo"), options.group)
        self._warned = False

    async def connect(self) -> None:
        """See `Producer.connect`."""
        subscribed = int((await self._attributes()).get("SubscriptionsConfirmed", 1))
        if not subscribed and not self._warned:
            self._warned = True
            log.warning("topic %s: it has no subscriptions, so what is published is lost; subscribe a queue", self.name)

    async def _attributes(self) -> Mapping[str, str]:
        await self._aws.open()
        attributes: Mapping[str, str] = (await self._aws.call("get_topic_attributes", TopicArn=self.name))["Attributes"]
        return attributes

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        return await self._sender.send(records)

    async def _send(self, entries: Sequence[Any]) -> Any:
        return await self._aws.call("publish_batch", TopicArn=self.name, PublishBatchRequestEntries=entries)

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        subscribed = (await self._attributes()).get("SubscriptionsConfirmed", "?")
        return [
            Probed("reachable", True, f"{self.server} answers"),
            Probed("authorised", True, "may ask for the topic"),
            Probed("exists", True, f"topic {self.name!r} exists; subscriptions: {subscribed}"),
        ]

    async def shutdown(self) -> None:
        """See `Producer.shutdown`; nothing is buffered, so there is nothing to flush."""
        await self._aws.close()
