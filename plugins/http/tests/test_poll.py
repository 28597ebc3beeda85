"""`http.poll` against real servers: what is asked, what comes of the answers, and which place is stored."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from http_scripted import Asked, scripted

from penstock.errors import FatalConnectorError, NotConnected
from penstock.message import QueueMessage
from penstock_http.options import PollOptions
from penstock_http.poll import PollConsumer

WAIT = 60.0  # seconds; all takes a fraction of one where the machine has time
SOON = 0.05  # the interval


@asynccontextmanager
async def poll(url: str, **options: Any) -> AsyncIterator[PollConsumer]:
    consumer = PollConsumer(url, PollOptions.model_validate({"interval": SOON, **options}))
    try:
        await consumer.connect()
        yield consumer
    finally:
        await consumer.shutdown()


async def taken(consumer: PollConsumer, count: int) -> list[QueueMessage]:
    messages: list[QueueMessage] = []
    deadline = time.monotonic() + WAIT
    while len(messages) < count and time.monotonic() < deadline:
        messages += await consumer.consume(count - len(messages), 1.0)
    assert len(messages) == count
    return messages


def bodies(messages: Sequence[QueueMessage]) -> list[bytes | None]:
    return [message.message for message in messages]


def listed(*ids: int, **headers: str) -> web.Response:
    return web.Response(body=json.dumps([{"id": each} for each in ids]).encode(), headers=headers)


BY_ITEM = {"items": "", "cursor": {"from": "item", "pointer": "/id", "param": "since_id"}}


def test_an_answer_is_a_message_and_is_not_asked_for_again_while_it_is_the_same() -> None:
    """By ETag: what has not changed is 304, and no message."""

    async def feed(asked: Asked) -> web.Response:
        if asked.headers.get("If-None-Match") == '"1"':
            return web.Response(status=304)
        return web.Response(
            body=b"\x00 as it is", headers={"ETag": '"1"', "Last-Modified": "Fri, 27 Nov 2026 05:00:00 GMT"}
        )

    async def main() -> None:
        async with scripted(feed) as server, poll(server.url) as consumer:
            [message] = await taken(consumer, 1)
            assert message.message == b"\x00 as it is"
            assert await consumer.consume(10, 0.5) == []
            assert len(server.asked) > 1
            assert server.asked[1].headers["If-Modified-Since"] == "Fri, 27 Nov 2026 05:00:00 GMT"

    asyncio.run(main())


def test_items_come_as_the_bytes_that_were_sent() -> None:
    """Numbers keep their digits, and nothing is written anew."""
    text = b'{"meta": [1, "[]"], "data": {"events": [ {"n": 1.10, "big": 12345678901234567890.5e1} ,"\xc3\xa9", null]}}'

    async def main() -> None:
        answers = web.Response(body=text), web.Response(status=204)
        async with scripted(*answers) as server, poll(server.url, items="/data/events") as consumer:
            found = bodies(await taken(consumer, 3))
            assert found == [b'{"n": 1.10, "big": 12345678901234567890.5e1}', b'"\xc3\xa9"', b"null"]

    asyncio.run(main())


def test_the_place_moves_behind_settled_items_only(tmp_path: Path) -> None:
    """The next reader asks behind the lowest unsettled one, also if others were settled."""
    state = str(tmp_path / "place")

    async def feed(asked: Asked) -> web.Response:
        since = int(asked.path.partition("since_id=")[2].partition("&")[0] or 0)
        return listed(*[each for each in range(1, 6) if each > since])

    async def main() -> None:
        async with scripted(feed) as server:
            async with poll(server.url, state=state, **BY_ITEM) as consumer:
                messages = await taken(consumer, 5)
                await consumer.on_success([messages[0], messages[1], messages[3]])
                # As a process that is killed here: nothing is stored at its end that is not stored now.
                assert json.loads(Path(state).read_text())["place"]["cursor"] == 2
            async with poll(server.url, state=state, **BY_ITEM) as consumer:
                assert [message.position for message in await taken(consumer, 3)] == ["3", "4", "5"]
            assert "/events?since_id=2" in [asked.path for asked in server.asked]

    asyncio.run(main())


def test_pages_are_followed_by_their_link_without_waiting(tmp_path: Path) -> None:
    """And the last page is asked again at the interval; an item that has been seen is passed over."""
    state = str(tmp_path / "place")

    async def feed(asked: Asked) -> web.Response:
        if "page=2" in asked.path:
            return listed(3, 4)
        return listed(1, 2, Link='</events?page=2>; rel="next"')

    async def main() -> None:
        async with scripted(feed) as server:
            options = {"items": "", "item_id": "/id", "cursor": {"from": "link"}, "state": state}
            async with poll(server.url, params={"limit": 2}, interval=3600, **options) as consumer:
                messages = await taken(consumer, 4)
                await consumer.on_success(messages)
            assert [asked.path for asked in server.asked] == ["/events?limit=2", "/events?page=2"]
            async with poll(server.url, **options) as consumer:
                assert await consumer.consume(10, 0.5) == []
            assert server.asked[-1].path == "/events?page=2"

    asyncio.run(main())


def test_a_cursor_of_the_body_goes_into_its_parameter() -> None:
    """An empty one at the end of the feed leaves the last one in place."""
    answers = [{"items": [1], "next": "a b"}, {"items": [2], "next": None}]

    async def main() -> None:
        pages = [web.json_response(answer) for answer in answers]
        async with scripted(*pages, web.json_response({"items": []})) as server:
            cursor = {"from": "body", "pointer": "/next", "param": "cursor"}
            async with poll(server.url, items="/items", cursor=cursor) as consumer:
                assert bodies(await taken(consumer, 2)) == [b"1", b"2"]
                assert await consumer.consume(1, 0.3) == []
            assert {asked.path for asked in server.asked[1:]} == {"/events?cursor=a+b"}

    asyncio.run(main())


def test_a_feed_can_be_read_from_now_on(tmp_path: Path) -> None:
    """What is there at the first start is passed over; what was there at later ones is not."""
    state = str(tmp_path / "place")

    async def main() -> None:
        async with scripted(listed(1, 2), listed(), listed(3)) as server:
            async with poll(server.url, start="now", state=state, **BY_ITEM) as consumer:
                assert [each.position for each in await taken(consumer, 1)] == ["3"]
            assert json.loads(Path(state).read_text())["place"]["cursor"] == 2

    asyncio.run(main())


def test_a_newest_first_feed_is_turned_round() -> None:
    """The oldest is delivered first, and the cursor is the newest one's."""

    async def main() -> None:
        async with scripted(listed(3, 2, 1), listed()) as server:
            async with poll(server.url, newest_first=True, **BY_ITEM) as consumer:
                assert [each.position for each in await taken(consumer, 3)] == ["1", "2", "3"]
                await consumer.consume(1, 0.3)
            assert server.asked[1].path == "/events?since_id=3"

    asyncio.run(main())


def test_a_requeued_item_comes_again_and_holds_up_no_other() -> None:
    """It is kept in memory, with one attempt more."""

    async def main() -> None:
        async with scripted(listed(1), listed(2), listed()) as server, poll(server.url, **BY_ITEM) as consumer:
            [first] = await taken(consumer, 1)
            await consumer.on_fail([first], delay=0.5)
            second, again = await taken(consumer, 2)
            assert (second.position, again.position, again.attempts) == ("2", "1", 2)

    asyncio.run(main())


@pytest.mark.parametrize("status", [429, 503])
def test_a_feed_that_asks_for_time_gets_it(status: int) -> None:
    """`Retry-After` becomes the engine's wait: in seconds, or as a date, and never more than an hour."""

    async def main() -> None:
        for text, least, most in (("7", 7, 7), ("86400", 3600, 3600), ("Fri, 01 Jan 2100 00:00:00 GMT", 3600, 3600)):
            async with scripted(web.Response(status=status, headers={"Retry-After": text})) as server:
                with pytest.raises(NotConnected) as caught:
                    async with poll(server.url):
                        pass
                assert caught.value.retry_after is not None
                assert least <= caught.value.retry_after <= most

    asyncio.run(main())


def test_a_feed_is_not_asked_before_its_answer_may_be_old() -> None:
    """`Cache-Control: max-age` is longer than the interval."""

    async def main() -> None:
        async with scripted(web.Response(body=b"1", headers={"Cache-Control": "private, max-age=600"})) as server:
            async with poll(server.url) as consumer:
                await taken(consumer, 1)
                assert await consumer.consume(1, 0.5) == []
            assert len(server.asked) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "check `token`, `password` or `headers`"), (403, "check `token`"), (404, "check `value` and `params`")],
)
def test_what_will_not_work_stops_the_worker(status: int, text: str) -> None:
    """It names the options, and an option by which the status is waited for instead."""

    async def main() -> None:
        async with scripted(status) as server:
            with pytest.raises(FatalConnectorError, match=text) as caught:
                async with poll(server.url, headers={"X-Api-Key": "s3cr3t"}, params={"key": "s3cr3t"}):
                    pass
            assert "s3cr3t" not in str(caught.value)
            with pytest.raises(NotConnected):
                async with poll(server.url, retriable_statuses=[status]):
                    pass

    asyncio.run(main())


def test_secrets_do_not_go_to_another_host() -> None:
    """Neither by a redirect nor by a link."""

    async def main() -> None:
        async with scripted(200) as elsewhere:
            away = web.Response(status=302, headers={"Location": elsewhere.url})
            link = web.Response(body=b"1", headers={"Link": f'<{elsewhere.url}>; rel="next"'})
            for answer in (away, link):
                async with scripted(answer) as server:
                    with pytest.raises(FatalConnectorError, match="write the URL there as `value`"):
                        async with poll(server.url, token="s3cr3t", cursor={"from": "link"}):
                            pass
            assert elsewhere.asked == []

    asyncio.run(main())


def test_a_redirect_within_the_host_is_followed_three_times_at_most() -> None:
    """A feed that leads in circles is told."""

    async def main() -> None:
        round_and_round = web.Response(status=302, headers={"Location": "/other"})
        async with scripted(round_and_round, web.Response(body=b"found")) as server, poll(server.url) as consumer:
            assert bodies(await taken(consumer, 1)) == [b"found"]
        async with scripted(round_and_round) as server:
            with pytest.raises(FatalConnectorError, match="answers 302"):
                async with poll(server.url):
                    pass
            assert len(server.asked) == 4

    asyncio.run(main())


def test_an_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    """Counted after decompression, so that a small answer cannot fill the memory."""

    async def main() -> None:
        bomb = web.Response(body=gzip.compress(bytes(50 * 2**20)), headers={"Content-Encoding": "gzip"})
        async with scripted(bomb) as server:
            with pytest.raises(FatalConnectorError, match="`max_body`, 1,000,000 bytes"):
                async with poll(server.url, max_body=1_000_000):
                    pass

    asyncio.run(main())


def test_an_answer_that_is_not_json_is_asked_for_again() -> None:
    """As a proxy's page of an error may come with a 200."""

    async def main() -> None:
        async with scripted(web.Response(body=b"<html>")) as server:
            with pytest.raises(NotConnected, match="not JSON"):
                async with poll(server.url, items=""):
                    pass
        async with scripted(web.json_response({"data": []})) as server:
            with pytest.raises(FatalConnectorError, match="no list at '/items'; check `items`"):
                async with poll(server.url, items="/items"):
                    pass

    asyncio.run(main())


def test_a_second_worker_asks_nothing_until_the_first_stops(tmp_path: Path) -> None:
    """The file has one owner, and each item comes once."""
    state = str(tmp_path / "place")

    async def main() -> None:
        async with scripted(listed(1), listed(2), listed()) as server:
            async with poll(server.url, state=state, interval=3600, **BY_ITEM) as first:
                await first.on_success(await taken(first, 1))
                second = PollConsumer(
                    server.url, PollOptions.model_validate({"interval": SOON, "state": state, **BY_ITEM})
                )
                await second.connect()
                assert await second.consume(1, 0.3) == []
                assert len(server.asked) <= 2
            assert [each.position for each in await taken(second, 1)] == ["2"]
            await second.shutdown()

    asyncio.run(main())
