"""One queue of SQS: found or created, asked about, and called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.connectors import Backlog, Created, Probed
from penstock.errors import ConnectorError
from penstock_aws.client import Aws
from penstock_aws.errors import NoQueue
from penstock_aws.options import SqsOptions, Target

WAITING, IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
DELAYED = "ApproximateNumberOfMessagesDelayed"


class SqsQueue:
    """The queue that a `value` names.

    Attributes:
        name: Its own name, without the rest of a URL or an ARN.
        fifo: Whether it is a FIFO queue; AWS tells them apart by their names.
    """

    def __init__(self, value: str, options: SqsOptions) -> None:
        self._target = Target.parse(value)
        self._options = options
        self._url = self._target.url
        self.name = self._target.name
        self.fifo = self.name.endswith(".fifo")
        self.aws = Aws("sqs", f"queue {self.name!r}", options, self._target.region)
        self.server = f"AWS at {self.aws.address}"

    async def open(self) -> Mapping[str, str]:
        """Find the queue, or create it where the options say so; returns its attributes."""
        await self.aws.open()
        try:
            return await self.attributes()
        except NoQueue:
            if not self._options.create:
                raise
        await self._create()
        return await self.attributes()

    async def call(self, operation: str, wait: float = 0.0, **parameters: Any) -> Any:
        """Make a call for this queue; see `Aws.call`."""
        if self._url is None:
            owner: Any = {"QueueOwnerAWSAccountId": self._target.account} if self._target.account else {}
            self._url = (await self.aws.call("get_queue_url", QueueName=self.name, **owner))["QueueUrl"]
        return await self.aws.call(operation, wait, QueueUrl=self._url, **parameters)

    async def attributes(self) -> Mapping[str, str]:
        """What the queue says of itself, counts included."""
        attributes: Mapping[str, str] = (await self.call("get_queue_attributes", AttributeNames=["All"]))["Attributes"]
        return attributes

    async def _create(self) -> None:
        attributes = {"FifoQueue": "true"} if self.fifo else {}
        await self.aws.call("create_queue", QueueName=self.name, Attributes=attributes)

    async def create(self) -> Created:
        """See `Producer.create`."""
        await self.aws.open()
        try:
            await self.attributes()
        except NoQueue:
            await self._create()
            return Created(False, f"queue {self.name!r}, {self.aws.address}")
        return Created(True, f"queue {self.name!r}, {self.aws.address}")

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`; what a requeue delays counts as in flight."""
        await self.aws.open()
        counts = await self.attributes()
        return Backlog(int(counts[WAITING]), int(counts[IN_FLIGHT]), int(counts[DELAYED]))

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        await self.aws.open()
        found = f"queue {self.name!r} exists"
        try:
            await self.attributes()
        except NoQueue as error:
            if not self._options.create:
                raise ConnectorError(str(error)) from error
            found = f"queue {self.name!r} is created when a worker starts"
        return [
            Probed("reachable", True, f"{self.server} answers"),
            Probed("authorised", True, "may ask for the queue"),
            Probed("exists", True, found),
        ]
