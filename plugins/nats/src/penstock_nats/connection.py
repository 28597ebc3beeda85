"""A connection to NATS: opened, lost, opened again; and many requests answered at once."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from penstock.client_slot import ClientSlot
from penstock.confirmations import Confirmations
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_nats.errors import ERRORS
from penstock_nats.options import NatsOptions

CLOSE_TIMEOUT = 1.0  # seconds that closing may take, since the server may not be there any more

SCHEDULES_SINCE = (2, 12)  # the version of the server

Request = tuple[str, bytes, Mapping[str, str]]
"""Subject, body, headers."""


class Connection:
    """A connection that never reconnects by itself: once lost it raises `NotConnected` until it is opened again."""

    def __init__(self, options: NatsOptions) -> None:
        self.address = options.servers
        self.timeout = options.timeout
        self._options = options
        self._client = ClientSlot[Client](f"the connection to NATS at {options.servers}")
        self._inbox = ""
        self._numbers = itertools.count()
        self._waiting: dict[int, Confirmations[Any]] = {}

    @property
    def client(self) -> Client:
        """The client library's own connection; see `ClientSlot.get`."""
        return self._client.get()

    @property
    def has_schedules(self) -> bool:
        """Whether the server can hold a message back."""
        version = self.client.connected_server_version
        return (version.major, version.minor) >= SCHEDULES_SINCE

    @contextmanager
    def jetstream(self) -> Iterator[JetStreamContext]:
        """The API of streams and groups; its errors are translated."""
        with ERRORS.translating(self.address):
            yield self.client.jetstream(timeout=self.timeout)

    async def open(self) -> None:
        """Connect to one of the servers, also again."""
        await self._disconnect()
        # Workers that lost their server together should not all go to the same next one.
        urls = random.sample(self._options.urls, len(self._options.urls))
        for url in urls:
            try:
                with ERRORS.translating(url):
                    self._client.put(await self._connect(url))
                break
            except NotConnected:
                if url == urls[-1]:
                    raise
        self._inbox = self.client.new_inbox()
        with ERRORS.translating(self.address):
            await self.client.subscribe(f"{self._inbox}.*.*", cb=self._on_answer)

    async def _connect(self, url: str) -> Client:
        options = self._options
        client = Client()
        failures: list[Exception] = []

        async def closed() -> None:
            self._lose(client, NotConnected(f"NATS at {url}: the connection is lost"))

        async def failed(error: Exception) -> None:
            failures[:] = [error]
            # The server reports a missing permission here only, and never answers what waits for it.
            if isinstance(reported := ERRORS.translate(error, url), FatalConnectorError):
                self._lose(client, reported)

        try:
            async with asyncio.timeout(self.timeout):
                await client.connect(
                    url, name="penstock", closed_cb=closed, error_cb=failed,
                    **options.credentials(),
                    # The engine reconnects, with backoff.
                    allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0,
                )  # fmt: skip
        except BaseException as error:
            await _close(client)
            if isinstance(error, nats.errors.NoServersError) and failures:
                raise failures[-1] from error  # it has the reason
            raise
        return client

    def _lose(self, client: Client, why: ConnectorError) -> None:
        if self._client.is_open and self._client.get() is client:
            self._client.lose(why)
            for answers in self._waiting.values():
                answers.end(why)

    @contextmanager
    def expecting(self, answers: Confirmations[Any]) -> Iterator[int]:
        """Let answers end when the connection is lost. A server that does not answer in time counts as lost."""
        client, number = self.client, next(self._numbers)
        self._waiting[number] = answers
        try:
            with ERRORS.translating(self.address):
                yield number
        except NotConnected as error:
            # Also after a timeout: a late answer would be taken for an answer to the next request.
            self._lose(client, error)
            raise
        finally:
            del self._waiting[number]

    async def ask(self, requests: Sequence[Request]) -> list[Msg]:
        """Send requests in their order, all at once, and wait for all answers.

        Returns:
            One answer a request, in the same order.

        Raises:
            NotConnected: the connection was lost, or an answer did not come; any part of the requests may have been
                served.
        """
        if not requests:
            return []
        answers = Confirmations[Msg](len(requests))
        with self.expecting(answers) as number:
            return await answers.wait(self.timeout, self._send(number, requests))

    async def _send(self, number: int, requests: Sequence[Request]) -> None:
        publish = self.client.publish
        for index, (subject, body, headers) in enumerate(requests):
            await publish(subject, body, f"{self._inbox}.{number}.{index}", dict(headers) or None)

    async def _on_answer(self, answer: Msg) -> None:
        _, number, index = answer.subject.rsplit(".", 2)
        # A late answer has no caller any more.
        if (answers := self._waiting.get(int(number))) is not None:
            answers.report(int(index), answer)

    async def close(self) -> None:
        """Idempotent."""
        await self._disconnect()
        self._client.close()

    async def _disconnect(self) -> None:
        if (client := self._client.take()) is not None:
            # If it is lost already: nothing is buffered, since every request was answered.
            await _close(client)


async def _close(client: Client) -> None:
    with suppress(nats.errors.Error, OSError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await client.close()
    # A close that was cut short, because the server hangs or its certificate was refused, leaves its socket open.
    if (transport := client._transport) is not None:
        transport.close()  # type: ignore[no-untyped-call]
