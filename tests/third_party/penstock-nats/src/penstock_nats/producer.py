"""Records into a stream."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from nats.aio.msg import Msg
from penstock.connectors import Producer
from penstock.errors import NotConnected, ProduceError
from penstock.message import Record

from penstock_nats.connection import Connection, Request
from penstock_nats.errors import connector_errors
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
        self._connection = Connection(options)
        self._schedules = False
        # One call after the other, so that records keep the order of the calls.
        self._sending = asyncio.Lock()

    async def connect(self) -> None:
        """See `Producer.connect`."""
        await self._connection.open()
        client = self._connection.client
        with connector_errors(self._connection.address):
            jetstream = client.jetstream(timeout=self.options.timeout)
            version = client.connected_server_version
            stream = await find_stream(jetstream, self.name, self.options, (version.major, version.minor))
            config = (await jetstream.stream_info(stream)).config
            self._schedules = bool(config.allow_msg_schedules)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        client = self._connection.client
        answers: list[ProduceError | None] = []
        requests: list[Request] = []
        for record in records:
            headers = written_headers(record)
            refused = self._refusal(record, headers, client.max_payload)
            answers.append(refused)
            if refused is None:
                subject = self.name
                if record.delay:
                    subject, headers = self._later(record.delay, headers)
                requests.append((subject, record.message or b"", headers))
        async with self._sending:
            confirmations = iter(await self._connection.ask(requests))
        return [refused or _outcome(next(confirmations)) for refused in answers]

    def _refusal(self, record: Record, headers: dict[str, str], most: int) -> ProduceError | None:
        bytes_ = size(record.message or b"", headers)
        if bytes_ > most:
            return ProduceError(
                f"{bytes_} bytes with headers; this NATS takes {most} (its max_payload)", retriable=False
            )
        if record.delay and not self._schedules:
            return ProduceError(
                f"the stream of {self.name!r} has no message schedules, which a delay needs: they come with NATS 2.12",
                retriable=False,
            )
        if record.delay and not 0 < record.delay < math.inf:
            return ProduceError(f"a delay is a number of seconds from 0, not {record.delay}", retriable=False)
        if record.options:
            unknown = ", ".join(sorted(record.options))
            return ProduceError(f"the connector 'nats' has no producer keyword {unknown}", retriable=False)
        return None

    def _later(self, delay: float, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Where a record waits, and the headers that send it on when its time has come."""
        at = datetime.now(UTC) + timedelta(seconds=delay)
        word = self._connection.client.new_inbox().rsplit(".", 1)[-1]
        schedule = {"Nats-Schedule": f"@at {at:%Y-%m-%dT%H:%M:%S.%fZ}", "Nats-Schedule-Target": self.name}
        return f"{LATER}.{self.name}.{word}", headers | schedule

    async def shutdown(self) -> None:
        """See `Producer.shutdown`; nothing is buffered, so there is nothing to flush."""
        await self._connection.close()


def _outcome(answer: Msg) -> ProduceError | None:
    """What the stream said of one record.

    Raises:
        NotConnected: no stream was there to say anything.
    """
    if answer.headers and answer.headers.get("Status") == NO_RESPONDERS:
        raise NotConnected("no stream answers; it was deleted, or JetStream is starting")
    error = json.loads(answer.data).get("error")
    if error is None:
        return None
    temporary = error.get("err_code") in UNTIL_THERE_IS_ROOM or error.get("code", 0) >= 500
    return ProduceError(f"the stream refused it: {error.get('description')}", retriable=temporary)
