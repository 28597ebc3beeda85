"""Records to an exchange, or to a queue by its name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from penstock.bulk import produce_in_batches, record_size
from penstock.connectors import Created, Probed, Producer
from penstock.errors import NotConnected, ProduceError
from penstock.message import Record
from penstock_rabbitmq.client import LONGEST, Client, Publication
from penstock_rabbitmq.errors import ERRORS
from penstock_rabbitmq.options import RabbitmqOptions
from penstock_rabbitmq.wire import written

MAX_HEADERS = 100_000  # bytes; all of them must fit into one frame of the protocol, of 128 KiB


class RabbitmqProducer(Producer):
    """Publishes persistent messages; a record is stored when the server has confirmed it."""

    options: RabbitmqOptions

    def __init__(self, name: str, options: RabbitmqOptions) -> None:
        super().__init__(name, options)
        self.server = f"RabbitMQ at {options.address}"
        self._client = Client(name, options)

    async def connect(self) -> None:
        """See `Producer.connect`. Of an output to an exchange the queues are others' business."""
        await self._client.open()
        await self._client.prepare(queue=False)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        return await produce_in_batches(records, self._send, reject=self._rejection)

    def _rejection(self, record: Record) -> ProduceError | None:
        options, size = record.options or {}, len(record.message or b"")
        key, priority = options.get("routing_key", ""), options.get("priority", 0)
        text = ""
        if size > self.options.max_message_size:
            text = f"a body of {size} bytes is larger than max_message_size, {self.options.max_message_size} bytes"
        elif record_size(record) - size + 16 * len(record.headers) > MAX_HEADERS:
            text = f"key and headers are larger than {MAX_HEADERS} bytes"
        elif not isinstance(key, str) or len(key.encode()) > 255:
            text = "routing_key is a text of at most 255 bytes"
        elif not isinstance(priority, int) or not 0 <= priority <= 255:
            text = "priority is a number from 0 to 255"
        elif record.delay > LONGEST:
            text = f"a delay of {record.delay:g} s is longer than {LONGEST:,.0f} s"
        return ProduceError(text, retriable=False) if text else None

    async def _send(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        outcomes = await self._client.publish([await self._publication(record) for record in records])
        refused = {n: _refusal(error) for n, error in outcomes.items() if isinstance(error, DeliveryError)}
        unknown = [n for n in range(len(records)) if n not in refused and (n not in outcomes or outcomes[n])]
        if not self.options.exchange and all(isinstance(outcomes.get(n), PublishError) for n in range(len(records))):
            raise NotConnected(f"{self.server}: queue {self.name!r} is not there any more")
        if unknown:
            cause = outcomes.get(unknown[0])
            lost = cause if isinstance(cause, Exception) else ConnectionError("the connection is lost")
            error = ERRORS.translate(lost, self.options.address)
            if len(unknown) + len(refused) == len(records):
                raise error from cause
            refused.update(dict.fromkeys(unknown, ProduceError(str(error))))
        return refused

    async def _publication(self, record: Record) -> Publication:
        exchange, options = self.options.exchange, record.options or {}
        key = options.get("routing_key") or self.options.routing_key or self.name
        if record.delay > 0:
            exchange, key = "", await self._client.delay_queue(record.delay, exchange, key)
        properties = Basic.Properties(
            headers=written(record),
            delivery_mode=2,  # on disk
            priority=options.get("priority"),
            # The client tells returned messages apart by this id, and takes one for the other if two have the same.
            message_id=uuid4().hex,
            timestamp=datetime.now(UTC),
        )
        return exchange, key, properties, record.message or b""

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._client.probe(reads=False)

    async def create(self) -> Created:
        """See `Producer.create`."""
        options = self.options.model_copy(update={"create": True})
        async with Client(self.name, options).temporary() as client:
            existed = await client.prepare(queue=True)
        return Created(existed, f"a {options.queue_type} queue at {options.address}")

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered, so there is nothing to flush."""
        await self._client.close()


def _refusal(error: DeliveryError) -> ProduceError:
    if isinstance(error, PublishError):
        return ProduceError("no queue is bound to the exchange for this routing key, or the queue was deleted")
    return ProduceError("the server did not store it: the queue is full, or its leader is away")
