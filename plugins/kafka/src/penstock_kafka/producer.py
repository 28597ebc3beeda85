"""Kafka's topics as output queues."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from penstock.connectors import Created, Probed, Producer
from penstock.errors import ConnectorError, FatalConnectorError, ProduceError
from penstock.message import Record
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.connection import check_connection, invalid_settings
from penstock_kafka.creation import create
from penstock_kafka.delivery import Delivery
from penstock_kafka.errors import Kind, describe, is_about_a_batch, kind_of, produce_error
from penstock_kafka.options import ClientOptions, topics
from penstock_kafka.probing import probe

log = logging.getLogger("penstock.kafka")

POLL_SLICE = 0.1  # seconds of one wait for reports; a full queue or a shutdown may wait this long for nothing
ASK_AFTER = 5.0  # seconds in which no record that waits is reported; then the client has to ask for the brokers
ASK_TIMEOUT = 1.0  # seconds for their answer
FLUSH_TIMEOUT = 9.0  # seconds that a shutdown waits for confirmations
AT_ONCE = 1_000  # records of one call to the client
ANY_PARTITION = -1

_MOST = {"partition": 2**31 - 1, "timestamp": 2**63 - 1}
"""Options of a record, and the largest value of each."""


class KafkaProducer(Producer):
    """Gives records to the client, which batches them, and waits for its reports with one future for each call.

    A separate thread polls the client, so that reports arrive while the event loop is busy.
    """

    def __init__(self, name: str, options: ClientOptions) -> None:
        super().__init__(name, options)
        self._options = options
        self._topic = topics(name, "output")[0]
        self.server = f"Kafka at {options.brokers}"
        self._where = f"{self.server}: topic {name!r}"
        self._callbacks = ClientCallbacks()
        self._client: Client | None = None
        self._closed = False
        self._turn = asyncio.Lock()
        self._waiting = False  # whether a call waits until the client's queue is shorter
        self._room = asyncio.Event()
        self._finished: list[Delivery] = []
        self._stopping = threading.Event()
        self._poller: threading.Thread | None = None

    # -- connecting

    async def connect(self) -> None:
        """Make the client, check brokers and topic."""
        if self._client is None:
            self._client = self._make_client()
            self._poller = threading.Thread(
                # In the context of this call, so that its log lines know their engine and queue.
                target=contextvars.copy_context().run,
                args=(self._poll, self._client, asyncio.get_running_loop()),
                name=f"penstock-kafka-{self.name}",
                daemon=True,
            )
            self._poller.start()
        client, options = self._client, self._options

        def check() -> None:
            # The polling thread serves the client's errors.
            check_connection(
                client, lambda: None, self._callbacks, [self._topic], options.brokers, options.connect_timeout
            )

        await asyncio.to_thread(check)

    def _make_client(self) -> Client:
        try:
            return Client(self._callbacks.listening(self._options.client_settings("output")))
        except KafkaException as error:
            raise invalid_settings(error) from None

    async def create(self) -> Created:
        """See `Producer.create`: the topic, with the partitions, replication and settings of the option `topic`."""
        return await asyncio.to_thread(create, self._topic, self._options)

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return await asyncio.to_thread(probe, self.name, self._options, "output")

    # -- producing

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Send records and wait for all their reports. If the client's queue is full, it waits.

        `Record.options` may hold `partition`, a number, and `timestamp`, milliseconds since the epoch.
        """
        client = self._open()
        if not records:
            return []
        async with self._turn:  # a call that began earlier comes first, even if it has to wait for room
            delivery = await self._send(client, records)
        await delivery.future
        failed = delivery.failed()
        if not failed and not delivery.refused:
            return [None] * len(records)
        results = [delivery.refused.get(index) for index in range(len(records))]
        for index, error in failed.items():
            self._raise_if_fatal(error)
            results[index] = produce_error(error, self._where)
        await self._send_batch_rejects(client, records, failed, results)
        return results

    async def _send(self, client: Client, records: Sequence[Record]) -> Delivery:
        """Give all records to the client, and wait for room if there is none."""
        delivery = Delivery(records, asyncio.get_running_loop().create_future(), self._finished.append)
        tried_alone = None
        while not self._give(client, delivery):
            if len(client):
                await self._some_reports()
            elif delivery.next == tried_alone:
                self._refuse_too_large(delivery)
            else:
                tried_alone = delivery.next  # it may have become empty since: try once more
        delivery.all_sent()
        return delivery

    def _refuse_too_large(self, delivery: Delivery) -> None:
        """Reject the next record, which does not even fit into an empty queue; else the call would wait without end."""
        record = delivery.records[delivery.next]
        size = len(record.message or b"") + len(record.key or b"")
        problem = (
            f"{self._where}: the client's queue has no room for a record of {size} bytes, also when it is empty; raise "
            "'queue.buffering.max.kbytes', or send less"
        )
        delivery.refuse(delivery.next, ProduceError(problem, retriable=False))
        delivery.next += 1

    async def _some_reports(self) -> None:
        self._room.clear()
        self._waiting = True
        await self._room.wait()

    async def _send_batch_rejects(
        self,
        client: Client,
        records: Sequence[Record],
        failed: Mapping[int, KafkaError],
        results: list[ProduceError | None],
    ) -> None:
        """Send records that were rejected together one by one, because the broker rejects whole batches."""
        batch_rejects = [index for index, error in failed.items() if is_about_a_batch(error)]
        if not batch_rejects:
            return
        log.warning("%s: %d records were rejected together: %s; sending them one by one", self._where,
                    len(batch_rejects), describe(failed[batch_rejects[0]]))  # fmt: skip
        async with self._turn:
            for index in batch_rejects:
                while len(client):
                    await self._some_reports()
                alone = await self._send(client, [records[index]])
                await alone.future
                results[index] = alone.refused.get(0)
                if (error := alone.failed().get(0)) is not None:
                    self._raise_if_fatal(error)
                    results[index] = produce_error(error, self._where)

    def _give(self, client: Client, delivery: Delivery) -> bool:
        """Give the client as many records as it accepts; returns False if its queue is full."""
        while records := delivery.records[delivery.next : delivery.next + AT_ONCE]:
            plain: list[dict[str, Any]] = [
                {"value": record.message, "key": record.key}
                for record in records
                if not (record.headers or record.options or record.delay)
            ]
            if len(plain) == len(records):
                has_room = self._give_together(client, delivery, plain)
            else:
                has_room = self._give_one_by_one(client, delivery, records)
            if not has_room:
                return False
            delivery.next += len(records)
        return True

    def _give_together(self, client: Client, delivery: Delivery, plain: list[dict[str, Any]]) -> bool:
        """In one call, which knows no headers. It marks what the client does not accept."""
        if client.produce_batch(self._topic, plain, ANY_PARTITION, delivery.reported) < len(plain):
            for index, each in enumerate(plain, delivery.next):
                if "_error" in each and not self._not_accepted(delivery, index, each["_error"]):
                    return False
        return True

    def _give_one_by_one(self, client: Client, delivery: Delivery, records: Sequence[Record]) -> bool:
        produce, topic, reported = client.produce, self._topic, delivery.reported
        for index, record in enumerate(records, delivery.next):
            try:
                if record.headers or record.options or record.delay:
                    self._give_special(client, delivery, index)
                else:
                    produce(topic, record.message, record.key, ANY_PARTITION, reported)
            except BufferError:
                delivery.next = index
                return False
            except KafkaException as refusal:
                if not self._not_accepted(delivery, index, refusal.args[0]):
                    return False
        return True

    def _not_accepted(self, delivery: Delivery, index: int, error: KafkaError) -> bool:
        """Refuse a record that the client did not accept; returns False if its queue is full."""
        if error.code() == KafkaError._QUEUE_FULL:
            delivery.next = index
            return False
        self._raise_if_fatal(error)
        delivery.refuse(index, produce_error(error, self._where))
        return True

    def _give_special(self, client: Client, delivery: Delivery, index: int) -> None:
        record = delivery.records[index]
        options = record.options or {}
        problem = _unusable(record)
        if problem is not None:
            delivery.refuse(index, ProduceError(f"{self._where}: {problem}", retriable=False))
            return
        client.produce(
            self._topic,
            record.message,
            record.key,
            options.get("partition", ANY_PARTITION),
            delivery.reported,
            timestamp=options.get("timestamp", 0),
            headers=list(record.headers) or None,
        )

    def _raise_if_fatal(self, error: KafkaError) -> None:
        if kind_of(error) is Kind.FATAL:
            raise FatalConnectorError(f"{self._where}: {describe(error)}")

    def _open(self) -> Client:
        if self._client is None:
            raise ConnectorError(f"{self._where}: {'closed' if self._closed else 'not connected'}")
        if self._callbacks.fatal is not None:
            raise FatalConnectorError(f"{self._where}: {describe(self._callbacks.fatal)}")
        return self._client

    # -- the polling thread

    def _poll(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        told = False
        waiting, moved_at = 0, time.monotonic()
        while not self._stopping.is_set():
            try:
                client.poll(POLL_SLICE)
            except Exception:
                # Without this thread no confirmation would ever arrive, so it survives a callback that raises. Reports
                # before the error count.
                log.exception("%s: polling failed; going on", self._where)
                self._stopping.wait(POLL_SLICE)
            self._wake(loop)
            if self._callbacks.down and not told:
                # The engine warns, once for all queues of these brokers, if they stay away.
                log.debug("%s: %s; %d records wait for the brokers", self._where,
                          self._callbacks.reason("all brokers are down"), len(client))  # fmt: skip
            told = self._callbacks.down
            if (left := len(client)) != waiting or not left:
                waiting, moved_at = left, time.monotonic()
            elif time.monotonic() - moved_at > ASK_AFTER:
                self._ask_for_brokers(client)
                moved_at = time.monotonic()

    def _ask_for_brokers(self, client: Client) -> None:
        """Make the client connect again: after an outage some wait for minutes before they look for the brokers."""
        # Whatever it raises, this thread goes on: without it no confirmation would ever arrive.
        with suppress(Exception):
            client.list_topics(self._topic, timeout=ASK_TIMEOUT)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass the results of the last poll to the loop, in one hop."""
        finished = self._finished[:]
        if not finished and not self._waiting:
            return
        del self._finished[: len(finished)]
        self._waiting = False
        try:
            loop.call_soon_threadsafe(self._woken, finished)
        except RuntimeError:
            log.debug("%s: the event loop has ended; no call waits for confirmations any more", self._where)

    def _woken(self, finished: Sequence[Delivery]) -> None:
        for delivery in finished:
            delivery.resolve()
        self._room.set()

    # -- ending

    async def shutdown(self) -> None:
        """Wait for the confirmations that are still to come, then close."""
        client, self._client, self._closed = self._client, None, True
        if client is None:
            return
        self._stopping.set()
        if self._poller is not None:
            await asyncio.to_thread(self._poller.join, self._options.poll_thread_timeout)
        left = await asyncio.to_thread(client.flush, FLUSH_TIMEOUT)
        self._wake(asyncio.get_running_loop())
        if left:
            log.warning("%s: closed with %d records unconfirmed", self._where, left)


def _unusable(record: Record) -> str | None:
    if record.delay:
        return "Kafka cannot delay a record; send it without a delay"
    options = record.options or {}
    unknown = sorted(set(options) - _MOST.keys())
    if unknown:
        return f"{unknown[0]!r} is not an option of a Kafka record; use 'partition' or 'timestamp' (milliseconds)"
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST[name]:
            return f"{name!r} must be a whole number up to {_MOST[name]}; correct or remove it"
    return None
