"""A connection to NATS: opened, lost, opened again; and many requests answered at once."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected

from penstock_nats.errors import as_connector_error, connector_errors
from penstock_nats.options import NatsOptions

CLOSE_WITHIN = 1.0  # seconds that the goodbye to a server may take which may not be there any more

Request = tuple[str, bytes, Mapping[str, str] | None]
"""Subject, body, headers."""


class Wait:
    """Somebody who waits for the server: woken when all is here, or when nothing more will come.

    Attributes:
        patience: Seconds without progress after which the server counts as away.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._limit: asyncio.Timeout | None = None
        self._end = asyncio.Event()
        self._why: ConnectorError | None = None

    def progress(self) -> None:
        """The server is alive: be patient for another while."""
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self.patience)

    def end(self, why: ConnectorError | None = None) -> None:
        """All is here; or, with a reason, nothing more will come."""
        self._why = self._why or why
        self._end.set()

    @contextmanager
    def _limited(self, limit: asyncio.Timeout) -> Iterator[None]:
        self._limit = limit
        try:
            yield
        finally:
            self._limit = None

    async def until_end(self, before: Awaitable[None] | None = None) -> None:
        """Do `before`, then wait for the end.

        Raises:
            NotConnected: there was no progress.
            ConnectorError: the reason that `end` was given.
        """
        try:
            async with asyncio.timeout(self.patience) as limit:
                with self._limited(limit):
                    if before is not None:
                        await before
                    await self._end.wait()
        except TimeoutError as error:
            raise NotConnected(f"the server has not answered for {self.patience:g} s") from error
        if self._why is not None:
            raise self._why


class Connection:
    """A connection that never reconnects by itself: once lost it raises `NotConnected` until it is opened again."""

    def __init__(self, options: NatsOptions) -> None:
        self.address = options.servers
        self.patience = options.timeout
        self._options = options
        self._client: Client | None = None
        self._lost: ConnectorError | None = None
        self._inbox = ""
        self._numbers = itertools.count()
        self._answers: dict[int, _Answers] = {}
        self._waits: set[Wait] = set()

    @property
    def client(self) -> Client:
        """The client library's own connection.

        Raises:
            NotConnected: the connection was lost.
            ConnectorError: it was never opened, or was closed.
        """
        if self._client is None:
            raise ConnectorError("the connection is not open: call connect first, nothing after shutdown")
        if self._lost is not None:
            raise type(self._lost)(str(self._lost))
        return self._client

    async def open(self) -> None:
        """Connect to one of the servers, also again."""
        await self.close()
        # Workers that lost their server together should not all go to the same next one.
        urls = random.sample(self._options.urls, len(self._options.urls))
        for url in urls:
            try:
                with connector_errors(url):
                    self._client = await self._connect(url)
                break
            except NotConnected:
                if url == urls[-1]:
                    raise
        self._lost = None
        self._inbox = self.client.new_inbox()
        with connector_errors(self.address):
            await self.client.subscribe(f"{self._inbox}.*.*", cb=self._on_answer)

    async def _connect(self, url: str) -> Client:
        options = self._options
        client = Client()
        arguments: dict[str, Any] = {
            "user": options.user,
            "password": options.password and options.password.get_secret_value(),
            "token": options.token and options.token.get_secret_value(),
            "user_credentials": options.creds_file,
        }

        async def closed() -> None:
            self._lose(client, NotConnected(f"NATS at {url}: the connection is lost"))

        failures: list[Exception] = []

        async def failed(error: Exception) -> None:
            failures[:] = [error]
            # A permission that is missing is told this way only; nobody would answer what waits for it.
            if isinstance(told := as_connector_error(error, url), FatalConnectorError):
                self._lose(client, told)

        try:
            async with asyncio.timeout(self.patience):
                await client.connect(
                    url, name="penstock", closed_cb=closed, error_cb=failed,
                    # The engine tries again, with backoff, and says so.
                    allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0,
                    **arguments,
                )  # fmt: skip
        except BaseException as error:
            await client.close()
            if isinstance(error, nats.errors.NoServersError) and failures:
                raise failures[-1] from error  # it says why
            raise
        return client

    def _lose(self, client: Client, why: ConnectorError) -> None:
        if client is self._client or self._client is None:
            self._lost = self._lost or why
            for wait in self._waits:
                wait.end(why)

    @contextmanager
    def waiting(self) -> Iterator[Wait]:
        """A wait that ends when the connection is lost. A server that does not answer in time counts as lost."""
        wait = Wait(self.patience)
        client = self.client
        self._waits.add(wait)
        try:
            with connector_errors(self.address):
                yield wait
        except NotConnected as error:
            # Also when it did not answer in time: what it will say to this request, nobody could tell from the next one's.
            self._lose(client, error)
            raise
        finally:
            self._waits.discard(wait)

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
        with self.waiting() as wait:
            number = next(self._numbers)
            answers = self._answers[number] = _Answers(len(requests), wait)
            try:
                await wait.until_end(self._send(number, requests, wait))
            finally:
                del self._answers[number]
            return answers.complete()

    async def _send(self, number: int, requests: Sequence[Request], wait: Wait) -> None:
        publish = self.client.publish
        for index, (subject, body, headers) in enumerate(requests):
            await publish(subject, body, f"{self._inbox}.{number}.{index}", dict(headers) if headers else None)
            wait.progress()

    async def _on_answer(self, answer: Msg) -> None:
        _, number, index = answer.subject.rsplit(".", 2)
        # One that nobody waits for any more came after its time.
        if (answers := self._answers.get(int(number))) is not None:
            answers.take(int(index), answer)

    async def close(self) -> None:
        """Idempotent."""
        client, self._client, self._lost = self._client, None, None
        if client is not None:
            try:
                async with asyncio.timeout(CLOSE_WITHIN):
                    await client.close()
            except (nats.errors.Error, OSError):
                return  # it was lost already; nothing is buffered, since every request was answered


class _Answers:
    """The answers to the requests of one call."""

    def __init__(self, count: int, wait: Wait) -> None:
        self._taken: list[Msg | None] = [None] * count
        self._missing = count
        self._wait = wait

    def take(self, index: int, answer: Msg) -> None:
        if self._taken[index] is None:
            self._taken[index] = answer
            self._missing -= 1
            self._wait.progress()
            if not self._missing:
                self._wait.end()

    def complete(self) -> list[Msg]:
        return [answer for answer in self._taken if answer is not None]
