"""`http.webhook` against real servers: which answers settle a record, what is sent again, and what is refused."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from http_scripted import Asked, scripted

from penstock import Engine
from penstock.errors import FatalConnectorError, NotConnected, ProduceError
from penstock.events import Settled
from penstock.message import Record
from penstock_http.client import is_public
from penstock_http.options import WebhookOptions
from penstock_http.webhook import WebhookProducer
from penstock_memory.namespaces import queue

WAIT = 60.0  # seconds; all takes a fraction of one where the machine has time


@asynccontextmanager
async def webhook(name: str, **options: Any) -> AsyncIterator[WebhookProducer]:
    producer = WebhookProducer(name, WebhookOptions.model_validate(options))
    await producer.connect()
    try:
        yield producer
    finally:
        await producer.shutdown()


async def sent(producer: WebhookProducer, *records: Record) -> list[ProduceError | None]:
    """What `produce` answers after as many calls as it takes, as an engine makes them."""
    while True:
        try:
            answers = list(await producer.produce(records))
        except NotConnected as error:
            await asyncio.sleep(min(error.retry_after or 0.05, 0.3))
            continue
        if not any(answer is not None and answer.retriable for answer in answers):
            return answers
        await asyncio.sleep(0.05)


def test_a_webhook_that_answers_200_after_the_timeout_is_sent_again_with_the_same_id() -> None:
    """Its outcome is unknown, so the message stays in its queue, and the receiver can tell that it is the same one."""
    answered: list[str] = []

    async def too_late(asked: Asked) -> web.Response:
        await asyncio.sleep(1.5)  # the timeout is 0.5
        answered.append(asked.headers["Idempotency-Key"])
        return web.Response(status=200)

    async def in_time(asked: Asked) -> web.Response:
        answered.append(asked.headers["Idempotency-Key"])
        return web.Response(status=200)

    async def main() -> None:
        async with scripted(too_late, in_time) as server:
            queues = {
                "orders": {"connector": "memory", "config": {"namespace": server.url}},
                "hook": {"connector": "http.webhook", "value": server.url, "config": {"timeout": 0.5}},
            }
            app = Engine("orders", ["hook"], queue_config=queues)

            @app.stream_app
            async def forward(order: dict[str, int]) -> list[tuple[str, dict[str, int]]]:
                return [("hook", order)]

            settled = asyncio.Event()

            @app.observer
            def told(event: object) -> None:
                if isinstance(event, Settled):
                    settled.set()

            queue(server.url, "orders").append([Record(b'{"n": 1}')], 0)
            serving = asyncio.create_task(app.serve())
            await asyncio.wait_for(settled.wait(), WAIT)
            serving.cancel()
            await asyncio.wait([serving])
            assert [json.loads(asked.body) for asked in server.asked] == [{"n": 1}] * 2
            assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 1
            assert answered == [server.asked[1].headers["Idempotency-Key"]]  # the settlement came with the second

    asyncio.run(main())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_be_accepted_later_is_sent_again(status: int) -> None:
    """Until it is accepted, with one id."""

    async def main() -> None:
        async with scripted(status, status, 202) as server, webhook(server.url) as producer:
            assert await sent(producer, Record(b"{}")) == [None]
            assert len(server.asked) == 3
            assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 1

    asyncio.run(main())


@pytest.mark.parametrize("status", [302, 400, 403, 404, 410, 422, 501])
def test_what_never_will_be_accepted_is_refused_alone(status: int) -> None:
    """With the host and the status; its neighbours are accepted."""

    async def by_body(asked: Asked) -> web.Response:
        return web.Response(status=status if asked.body == b"bad" else 200, headers={"Location": "/elsewhere"})

    async def main() -> None:
        async with scripted(by_body) as server, webhook(server.url) as producer:
            first, refused, last = await sent(producer, Record(b"1"), Record(b"bad"), Record(b"3"))
            assert (first, last) == (None, None)
            assert refused is not None
            assert f"127.0.0.1:{server.url.split(':')[2].split('/')[0]} answers {status}" in str(refused)
            assert len(server.asked) == 3

    asyncio.run(main())


def test_credentials_that_are_not_taken_stop_the_worker() -> None:
    """A dead letter for each message would not help. The error names the options, and no secret."""

    async def main() -> None:
        async with scripted(401) as server, webhook(server.url, token="s3cr3t-t0ken") as producer:
            with pytest.raises(FatalConnectorError, match=r"401 .*; check `token`, `password` or `headers`") as caught:
                await producer.produce([Record(b"{}")])
            assert "s3cr3t" not in str(caught.value)
            assert server.asked[0].headers["Authorization"] == "Bearer s3cr3t-t0ken"

    asyncio.run(main())


def test_a_host_that_asks_for_time_gets_it() -> None:
    """`Retry-After` becomes the engine's wait, and no other request goes there meanwhile."""

    async def main() -> None:
        busy = web.Response(status=503, headers={"Retry-After": "30"})
        async with scripted(busy, 200) as server, webhook(server.url, concurrency=1) as producer:
            with pytest.raises(NotConnected) as caught:
                await producer.produce([Record(b"1"), Record(b"2")])
            assert caught.value.retry_after is not None
            assert 25 < caught.value.retry_after <= 30
            with pytest.raises(NotConnected, match="left alone"):
                await producer.produce([Record(b"1")])
            assert len(server.asked) == 1

    asyncio.run(main())


def test_a_host_that_fails_again_and_again_is_left_alone_and_tried_by_one_request() -> None:
    """After three failures nothing is sent; after the pause one request finds out, and then all go."""

    async def main() -> None:
        options = {"breaker_failures": 3, "breaker_pause": 0.5, "concurrency": 1}
        async with scripted(500, 500, 500, 200) as server, webhook(server.url, **options) as producer:
            for _ in range(6):
                with pytest.raises(NotConnected):
                    await producer.produce([Record(b"1")])
            assert len(server.asked) == 3
            await asyncio.sleep(0.6)
            assert await producer.produce([Record(b"1"), Record(b"2")]) == [None, None]
            assert len(server.asked) == 5

    asyncio.run(main())


def test_each_url_gets_a_record_once() -> None:
    """One of two hosts is slow to accept; the other one is not asked again meanwhile."""

    async def main() -> None:
        async with scripted(200) as good, scripted(503, 503, 200) as slow:
            async with webhook(good.url, urls=[slow.url]) as producer:
                assert await sent(producer, Record(b"{}")) == [None]
            assert (len(good.asked), len(slow.asked)) == (1, 3)
            assert len({asked.headers["Idempotency-Key"] for asked in [*good.asked, *slow.asked]}) == 1

    asyncio.run(main())


def test_a_record_that_no_one_accepts_is_given_up_where_that_is_wanted() -> None:
    """So that one customer's dead host holds up no other; its message is dead-lettered."""

    async def main() -> None:
        async with scripted(500) as server, webhook(server.url, give_up_after=0.3) as producer:
            [refused] = await sent(producer, Record(b"{}"))
            assert refused is not None
            assert "given up after 0.3 s (`give_up_after`)" in str(refused)

    asyncio.run(main())


def test_requests_are_signed_as_standard_webhooks_are() -> None:
    """By each secret; the signature covers id, time and the very bytes of the body."""
    keys = [b"0123456789abcdef", b"fedcba9876543210"]
    secrets = ["whsec_" + b64encode(key).decode() for key in keys]

    async def main() -> None:
        async with scripted(200) as server, webhook(server.url, signing_secret=secrets) as producer:
            assert await sent(producer, Record(b'{"n":\xc3\xa9}', options={"id": "msg_1"})) == [None]
            [asked] = server.asked
            signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + asked.body
            expected = ["v1," + b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys]
            assert asked.headers["webhook-signature"].split() == expected
            assert asked.headers["webhook-id"] == asked.headers["Idempotency-Key"] == "msg_1"

    asyncio.run(main())


def test_headers_that_http_cannot_carry_travel_as_json() -> None:
    """Others go as they are; those that HTTP uses itself are never set by a record."""

    async def main() -> None:
        async with scripted(200) as server, webhook(server.url) as producer:
            headers = [("traceparent", b"00-1"), ("text", "ö\r\nHost: x".encode()), ("Host", b"evil"), ("none", None)]
            assert await sent(producer, Record(b"{}", key=b"k", headers=headers)) == [None]
            [asked] = server.asked
            assert asked.headers["traceparent"] == "00-1"
            assert asked.headers["penstock-key"] == "k"
            assert asked.headers["Host"] != "evil"
            others = dict(json.loads(asked.headers["penstock-headers"]))
            assert b64decode(others["text"]["base64"]).decode() == "ö\r\nHost: x"
            assert (others["Host"], others["none"]) == ("evil", None)

    asyncio.run(main())


def test_with_a_concurrency_of_one_records_keep_their_order() -> None:
    """None is sent before the one before it is accepted."""

    async def main() -> None:
        async with scripted(200, 503, 200) as server, webhook(server.url, concurrency=1) as producer:
            bodies = [b"%d" % number for number in range(5)]
            assert await sent(producer, *map(Record, bodies)) != []
            accepted = [asked.body for position, asked in enumerate(server.asked) if position != 1]
            assert list(dict.fromkeys(accepted)) == bodies

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/", "http://169.254.169.254/latest", "http://10.1.2.3/",
     "http://[::ffff:127.0.0.1]:1/", "http://0.0.0.0:1/", "http://127.1:1/", "http://2130706433:1/"],
)  # fmt: skip
def test_a_url_of_a_record_that_leads_to_a_private_address_is_refused(url: str) -> None:
    """Whatever name it has: what is looked at is the address that would be connected to."""

    async def main() -> None:
        async with webhook("hooks", urls_from_records=True, timeout=5) as producer:
            [refused] = await sent(producer, Record(b"{}", options={"url": url}))
            assert refused is not None
            assert not refused.retriable

    asyncio.run(main())


def test_a_private_address_is_named_as_the_reason_and_may_be_permitted() -> None:
    """By an option of its own."""

    async def main() -> None:
        async with scripted(200) as server:
            record = Record(b"{}", options={"url": server.url})
            async with webhook("hooks", urls_from_records=True) as producer:
                [refused] = await sent(producer, record)
                assert "private address; `allow_private` would permit it" in str(refused)
            assert server.asked == []
            async with webhook("hooks", urls_from_records=True, allow_private=True) as producer:
                assert await sent(producer, record) == [None]
            assert len(server.asked) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("2606:4700::1111", True), ("100.64.0.1", False), ("172.16.0.1", False),
     ("fe80::1%eth0", False), ("fc00::1", False), ("224.0.0.1", False), ("::ffff:10.0.0.1", False),
     ("2002:7f00:1::", False)],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    """Addresses that embed a private one are private."""
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("options", "text"),
    [({"url": "http://example.com"}, "`url` goes with `urls_from_records: true`"), ({"id": "a.b"}, "option `id`"),
     ({"id": 7}, "option `id`")],
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_refused(options: dict[str, Any], text: str) -> None:
    """And nothing is sent."""

    async def main() -> None:
        async with scripted(200) as server, webhook(server.url) as producer:
            [refused] = await producer.produce([Record(b"{}", options=options)])
            assert text in str(refused)
            assert server.asked == []

    asyncio.run(main())
