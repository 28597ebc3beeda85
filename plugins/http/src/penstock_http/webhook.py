"""Records out to URLs: each is sent until every URL has accepted it, always with the same id."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from penstock.connectors import Probed, Producer
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.headers import dump_headers
from penstock.message import Record
from penstock_http.breaker import Breakers
from penstock_http.check import HEADER, url_problem
from penstock_http.client import ERRORS, HttpClient, PrivateAddress, wait_asked_for
from penstock_http.options import WebhookOptions
from penstock_http.signature import key_of, signed

MAX_READ = 64 * 1024  # bytes of an answer that are read, so that its connection can be used again

OTHERS = "penstock-headers"  # as JSON: the headers of a record that HTTP cannot carry, or that it uses itself
RESERVED = re.compile(
    rf"{OTHERS}|authorization|connection|content-.*|cookie|expect|host|te|trailer|transfer-encoding|upgrade|webhook-.*",
    re.IGNORECASE,
)
_VALUE = re.compile(rb"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,255}")  # without the full stop, which divides what is signed


@dataclass(slots=True)
class _Sending:
    """A record that is not accepted everywhere yet: since when, and what URLs have said for good."""

    since: float = field(default_factory=monotonic)
    answers: dict[URL, ProduceError | None] = field(default_factory=dict)


class WebhookProducer(Producer):
    """Sends each record as one request to each URL."""

    options: WebhookOptions

    def __init__(self, name: str, options: WebhookOptions) -> None:
        super().__init__(name, options)
        own = (name, *options.urls) if "://" in name else options.urls
        self._urls = () if options.urls_from_records else tuple(map(URL, own))
        self.server = f"HTTP at {', '.join(url.authority for url in self._urls)}" if self._urls else ""
        self._keys = [key for each in options.signing_secrets if (key := key_of(each.get_secret_value()))]
        self._client = self._new_client()
        self._breakers = Breakers(options.breaker_failures, options.breaker_pause)
        self._sending: dict[str, _Sending] = {}  # by id
        self._room = asyncio.Semaphore(options.concurrency)
        self._in_order = asyncio.Lock()

    def _new_client(self) -> HttpClient:
        options = self.options
        public_only = options.urls_from_records and not options.allow_private
        return HttpClient(self.name, options, {"Content-Type": options.content_type}, public_only=public_only)

    async def connect(self) -> None:
        """See `Producer.connect`: one of the URLs must be reachable."""
        await self._client.open()
        await self._reach(self._client)

    async def _reach(self, client: HttpClient) -> list[Probed]:
        """Ask each URL for nothing; whatever it answers, it can be reached."""

        async def ask(url: URL) -> ConnectorError | None:
            try:
                with ERRORS.translating(url.authority):
                    async with client.session.head(url, allow_redirects=False):
                        return None
            except ConnectorError as error:
                return error

        errors = await asyncio.gather(*map(ask, self._urls))
        if errors and all(errors):
            raise next(filter(None, errors))
        answers = zip(self._urls, errors, strict=True)
        return [Probed("reachable", not error, str(error or f"{url.authority} answers")) for url, error in answers]

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`. With a concurrency of 1 a record waits until the one before is accepted."""
        if self.options.concurrency == 1:
            async with self._in_order:
                outcomes = await self._one_by_one(records)
        else:
            outcomes = await asyncio.gather(*map(self._send, records))
        away = [each for each in outcomes if isinstance(each, NotConnected)]
        # A host that a record names may stay away; the queue is there all the same.
        if away and len(away) == len(records) and self._urls:
            raise away[0]
        return [ProduceError(str(each)) if isinstance(each, NotConnected) else each for each in outcomes]

    async def _one_by_one(self, records: Sequence[Record]) -> list[ProduceError | NotConnected | None]:
        outcomes: list[ProduceError | NotConnected | None] = []
        for record in records:
            outcomes.append(await self._send(record))
            if isinstance(outcomes[-1], NotConnected):
                break
        return outcomes + outcomes[-1:] * (len(records) - len(outcomes))

    async def _send(self, record: Record) -> ProduceError | NotConnected | None:
        """Send a record to each URL that has not answered for good; what came of it."""
        if problem := self._problem(record):
            return ProduceError(problem, retriable=False)
        options = record.options = {"id": str(uuid.uuid4()), **(record.options or {})}  # kept for the next try
        sending = self._sending.setdefault(options["id"], _Sending())
        away: NotConnected | None = None
        for url in self._urls or (URL(options["url"]),):
            if url not in sending.answers:
                try:
                    async with self._room:
                        sending.answers[url] = await self._request(url, record, options["id"])
                except NotConnected as error:
                    away = away or error
        limit = self.options.give_up_after
        if away is not None and (limit is None or monotonic() - sending.since < limit):
            return away
        self._sending.pop(options["id"], None)
        if away is not None:
            return ProduceError(f"{away}; given up after {limit:g} s (`give_up_after`)", retriable=False)
        return next(filter(None, sending.answers.values()), None)

    def _problem(self, record: Record) -> str | None:
        options = record.options or {}
        url = options.get("url")
        if record.message is None:
            return "a request takes no null body (tombstone)"
        if not isinstance(identity := options.get("id", "-"), str) or not _ID.fullmatch(identity):
            return "the option `id` must be printable ASCII without spaces and full stops, at most 255 characters"
        if (url is None) == self.options.urls_from_records:
            return "the option `url` goes with `urls_from_records: true`: there each record has one, else none has"
        if url is None or not isinstance(url, str):
            return None if url is None else "the option `url` must be text"
        return url_problem(url)

    async def _request(self, url: URL, record: Record, identity: str) -> ProduceError | None:
        """One request; None if it was accepted, an error if it never will be.

        Raises:
            NotConnected: it may be accepted later, or has been, and no answer came.
        """
        host, breakers = url.authority, self._breakers
        breakers.enter(host)
        try:
            with ERRORS.translating(host):
                call = self._client.session.request(
                    self.options.method, url, data=record.message, headers=self._headers(record, identity),
                    allow_redirects=False,
                )  # fmt: skip
                async with call as answer:
                    with suppress(aiohttp.ClientError, OSError, TimeoutError):  # the status is what counts
                        await answer.content.read(MAX_READ)
        except NotConnected as error:
            if isinstance(getattr(error.__cause__, "os_error", None), PrivateAddress):
                return ProduceError(str(error), retriable=False)
            breakers.failed(host, None)
            raise
        except FatalConnectorError as error:  # the client takes no such URL
            return ProduceError(str(error), retriable=False)
        text = f"{host} answers {answer.status} {answer.reason}"
        if answer.status in self.options.retriable_statuses:
            wait = wait_asked_for(answer.headers)
            breakers.failed(host, wait)
            raise NotConnected(text, wait)
        breakers.answered(host)
        if answer.status in (self.options.success_statuses or range(200, 300)):
            return None
        if answer.status == 401 and self._urls:
            raise FatalConnectorError(f"{text}; check `token`, `password` or `headers`")
        return ProduceError(text, retriable=False)

    def _headers(self, record: Record, identity: str) -> CIMultiDict[str]:
        headers = CIMultiDict[str]()
        others: list[tuple[str, bytes | None]] = []
        key = () if record.key is None else [("penstock-key", record.key)]
        for name, value in [*record.headers, *key]:
            if value is None or not (HEADER.fullmatch(name) and _VALUE.fullmatch(value)) or RESERVED.fullmatch(name):
                others.append((name, value))
            else:
                headers.add(name, value.decode())
        if text := dump_headers(others, ascii_only=True):
            headers[OTHERS] = text
        if self.options.id_header:
            headers[self.options.id_header] = identity
        if self._keys:
            headers.update(signed(self._keys, identity, int(time.time()), record.message or b""))
        return headers

    async def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        client = self._new_client()
        await client.open()
        try:
            return await self._reach(client)
        finally:
            await client.close()

    async def shutdown(self) -> None:
        """See `Producer.shutdown`. Nothing is buffered."""
        await self._client.close()
