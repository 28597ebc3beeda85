"""Records into a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from nats.aio.msg import Msg

from penstock.bulk import produce_in_batches
from penstock.connectors import Created, Probed, Producer
from penstock.errors import NotConnected, ProduceError
from penstock.message import Record
from penstock_nats.connection import Connection, Request
from penstock_nats.looking import Looker
from penstock_nats.options import NatsOptions
from penstock_nats.streams import LATER, find_stream
from penstock_nats.wire import size, written_headers

NO_RESPONDERS = "503"
UNTIL_THERE_IS_ROOM = {10047, 10077, 10109}
"""The server's codes for: no storage left, the stream's most messages, its most bytes. Others are refusals for good."""


class NatsProducer(Producer):
    """Publishes to one subject; a record is confirmed when the stream has stored it."""

    options: NatsOptions

    def __init__(self, name: str, options: NatsOptions) -> None:
        super().__init__(name, options)
        self.server = f"NATS at {options.servers}"
        self._connection = Connection(options)
        self._looking = Looker(name, options)
        self._schedules = False
        # One call after the other, so that records keep the order of the calls.
        self._sending = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._connection.open()
        with self._connection.jetstream() as jetstream:
            stream = await find_stream(jetstream, self.name, self.options, self._connection.has_schedules)
            config = (await jetstream.stream_info(stream)).config
            self._schedules = bool(config.allow_msg_schedules)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        async with self._sending:
            return await produce_in_batches(records, self._send, reject=self._rejection)

    def _rejection(self, record: Record) -> ProduceError | None:
        bytes_, limit = size(*self._request(record)[1:]), self._connection.client.max_payload
        if bytes_ > limit:
            text = f"{bytes_} bytes with headers; this NATS takes {limit} (its max_payload)"
            return ProduceError(text, retriable=False)
        if record.delay and not self._schedules:
            text = (
                f"the stream of {self.name!r} has no message schedules, which a delay needs: they come with NATS 2.12"
            )
            return ProduceError(text, retriable=False)
        return None

    async def _send(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        answers = await self._connection.ask([self._request(record) for record in records])
        outcomes = enumerate(map(_outcome, answers))
        return {position: error for position, error in outcomes if error is not None}

    def _request(self, record: Record) -> Request:
        body, headers = record.message or b"", written_headers(record)
        if not record.delay:
            return self.name, body, headers
        # The server keeps it under another subject, and sends it on when its time has come.
        at = datetime.now(UTC) + timedelta(seconds=record.delay)
        schedule = {"Nats-Schedule": f"@at {at:%Y-%m-%dT%H:%M:%S.%fZ}", "Nats-Schedule-Target": self.name}
        return f"{LATER}.{self.name}.{uuid4().hex}", body, headers | schedule

    async def create(self) -> Created:
        """See `Producer.create`: the stream, and the group of the options."""
        return await self._looking.create()

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await self._looking.probe()

    async def shutdown(self) -> None:
        """See `Producer.shutdown`; nothing is buffered, so there is nothing to flush."""
        await self._connection.close()
        await self._looking.close()


def _outcome(answer: Msg) -> ProduceError | None:
    """The stream's answer to one record.

    Raises:
        NotConnected: no stream has answered.
    """
    if answer.headers and answer.headers.get("Status") == NO_RESPONDERS:
        raise NotConnected("no stream answers; it was deleted, or JetStream is starting")
    error = json.loads(answer.data).get("error")
    if error is None:
        return None
    temporary = error.get("err_code") in UNTIL_THERE_IS_ROOM or error.get("code", 0) >= 500
    return ProduceError(f"the stream refused it: {error.get('description')}", retriable=temporary)
