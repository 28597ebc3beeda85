"""Messages out of a feed: asked again and again, each item once, the place stored behind what is settled."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, cast

from aiohttp import ClientResponse
from yarl import URL

from penstock.backoff import Backoff
from penstock.checkpoints import Checkpoints, SourceMessage
from penstock.connectors import Consumer, Probed
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import QueueMessage
from penstock.polling import Poller
from penstock_http.client import ERRORS, HttpClient, wait_asked_for
from penstock_http.feed import Answer, Feed, Place, moved
from penstock_http.options import PollOptions

MAX_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1  # seconds between two looks at what is due

log = logging.getLogger("penstock.http")


class PollConsumer(Consumer):
    """The only reader of its feed, where a file keeps the place; others stand by."""

    options: PollOptions

    def __init__(self, name: str, options: PollOptions) -> None:
        super().__init__(name, options)
        self._url = URL(name)
        self.server = f"HTTP at {self._url.authority}"
        self._client = HttpClient(name, options)
        self._checkpoints = Checkpoints(name, options.state, log)
        self._feed = Feed(options)
        self._poller = Poller(Backoff(initial=FIRST_PAUSE, maximum=LONGEST_PAUSE, jitter=0.0))
        self._place: Place | None = None  # where the next request goes on
        self._passing_over = False  # what was there before the first start
        self._asking: asyncio.Task[None] | None = None
        self._due = 0.0  # when the next request is due, by `monotonic`

    async def connect(self) -> None:
        """See `Consumer.connect`: asks once, if that is due."""
        await self._stop_asking()
        await self._client.open()
        if await self._owns() and self._is_due():
            await self._ask()

    async def _owns(self) -> bool:
        owns = await self._checkpoints.own()
        if owns and self._place is None:
            self._passing_over = self._checkpoints.state is None and self.options.start == "now"
            self._place = self._checkpoints.state or {}
            self._feed.go_on_at(self._place)
        return owns

    def _is_due(self) -> bool:
        return self._checkpoints.is_empty and monotonic() >= self._due

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. A request that takes longer than `timeout` goes on."""
        return await self._poller.poll(lambda: self._look(max_messages), timeout)

    async def _look(self, max_messages: int) -> Sequence[SourceMessage]:
        if not await self._owns():
            return []
        if self._asking is None and self._is_due():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(lambda _: self._poller.wake())
        if self._asking is not None and self._asking.done():
            asked, self._asking = self._asking, None
            asked.result()
        return self._checkpoints.take(max_messages)

    async def _ask(self) -> None:
        place, began = cast(Place, self._place), monotonic()
        answer, body = await self._request(place)
        if answer.status not in (204, 304):
            link = str(self._same_origin(URL(answer.links["next"]["url"]))) if "next" in answer.links else None
            etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
            new, self._place = self._feed.read(Answer(self.server, body, etag, modified, link), place)
            self._add([] if self._passing_over else new)
        goes_on = moved(place, self._place or {})
        self._passing_over &= goes_on
        interval = self.options.interval * random.uniform(1 - self.options.jitter, 1)
        self._due = began + (0.0 if goes_on else max(interval, _shortest(answer.headers)))
        await self._checkpoints.store()

    def _add(self, new: Sequence[tuple[SourceMessage, Place | None]]) -> None:
        together: list[SourceMessage] = []
        for message, behind in new:
            together.append(message)
            if behind is not None:
                self._checkpoints.add(together, behind)
                together = []
        if not new:
            self._checkpoints.add((), self._place)

    async def _request(self, place: Place) -> tuple[ClientResponse, bytes]:
        """Ask at a place; the answer, and its body."""
        options, url, hops = self.options, URL(place.get("url") or self.name), 0
        if not place.get("url"):
            params: dict[str, Any] = dict(options.params)
            if options.cursor and options.cursor.param and place.get("cursor") is not None:
                params[options.cursor.param] = place["cursor"]
            url = url.update_query(params)
        conditions = {"If-None-Match": place.get("etag"), "If-Modified-Since": place.get("modified")}
        headers = {name: value for name, value in conditions.items() if value}
        while True:
            with ERRORS.translating(self._url.authority):
                call = self._client.session.request(options.method, url, headers=headers, allow_redirects=False)
                async with call as answer:
                    body = await self._body(answer)
            if answer.status in (200, 204, 304):
                return answer, body
            hops += 1
            if answer.status not in REDIRECTS or hops > MAX_REDIRECTS:
                raise self._refusal(answer)
            url = self._same_origin(url.join(URL(answer.headers.get("Location", ""))))

    async def _body(self, answer: ClientResponse) -> bytes:
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > self.options.max_body:
                raise FatalConnectorError(
                    f"{self.server}: an answer is larger than `max_body`, {self.options.max_body:,} bytes; raise it, "
                    "or ask for less by `params`"
                )
        return bytes(body)

    def _refusal(self, answer: ClientResponse) -> ConnectorError:
        text = f"{self.server} answers {answer.status} {answer.reason}"
        if answer.status in self.options.retriable_statuses:
            return NotConnected(text, wait_asked_for(answer.headers))
        options = "`token`, `password` or `headers`" if answer.status in (401, 403) else "`value` and `params`"
        return FatalConnectorError(f"{text}; check {options}, or add it to `retriable_statuses`")

    def _same_origin(self, url: URL) -> URL:
        # Headers may hold secrets, which must not go to another host.
        if url.origin() != self._url.origin():
            raise FatalConnectorError(f"{self.server} leads to {url.authority}; write the URL there as `value`")
        return url

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`: the place behind what is settled is stored before this returns."""
        return await self._checkpoints.succeed(cast(Sequence[SourceMessage], messages))

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: kept in memory; the stored place stays before them."""
        late = self._checkpoints.requeue(cast(Sequence[SourceMessage], messages), delay)
        self._poller.wake()
        return late

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`: asks without a place, and reads nothing of the answer."""
        client = HttpClient(self.name, self.options)
        await client.open()
        try:
            with ERRORS.translating(self._url.authority):
                url = self._url.update_query(self.options.params)
                async with client.session.request(self.options.method, url, allow_redirects=False) as answer:
                    pass
        finally:
            await client.close()
        if answer.status >= 400:
            raise self._refusal(answer)
        return [Probed("reachable", True, f"{self.server} answers {answer.status}")]

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`. A request under way is given up: it has taken nothing from the feed."""
        await self._stop_asking()
        await self._checkpoints.close()
        await self._client.close()

    async def _stop_asking(self) -> None:
        if (asking := self._asking) is not None:
            self._asking = None
            asking.cancel()
            with suppress(asyncio.CancelledError, ConnectorError):
                await asking


def _shortest(headers: Mapping[str, str]) -> float:
    """Seconds before the next request that the answer asks for."""
    wait = wait_asked_for(headers) or 0.0
    with suppress(ValueError, IndexError):
        wait = max(wait, float(headers.get("Cache-Control", "").split("max-age=")[1].split(",")[0]))
    return wait
