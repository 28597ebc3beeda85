"""What the connector promises beside the kit, on a real RabbitMQ: routing, confirmations, limits, TLS."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aio_pika
import pytest
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.requirement import missing
from tests.test_docs import DOCS, run_sessions

from penstock.errors import FatalConnectorError, NotConnected, ProduceError
from penstock.message import QueueMessage, Record
from penstock_rabbitmq.consumer import RabbitmqConsumer
from penstock_rabbitmq.options import RabbitmqOptions
from penstock_rabbitmq.producer import RabbitmqProducer


class Shop:
    """Queues on the server, opened and closed."""

    def __init__(self, server: RabbitmqServer) -> None:
        self.server = server
        self.name = server.queue()

    def options(self, **config: Any) -> RabbitmqOptions:
        return RabbitmqOptions(**{"host": "127.0.0.1", "port": self.server.port, **config})

    @asynccontextmanager
    async def consumer(self, name: str | None = None, **config: Any) -> AsyncIterator[RabbitmqConsumer]:
        async with opened(RabbitmqConsumer(name or self.name, self.options(**config))) as consumer:
            yield consumer

    @asynccontextmanager
    async def producer(self, name: str | None = None, **config: Any) -> AsyncIterator[RabbitmqProducer]:
        async with opened(RabbitmqProducer(name or self.name, self.options(**config))) as producer:
            yield producer

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[Any]:
        """A channel of aio-pika, as other programs have it."""
        async with await aio_pika.connect(host="127.0.0.1", port=self.server.port) as connection:
            yield await connection.channel()


@asynccontextmanager
async def opened(client: Any) -> AsyncIterator[Any]:
    try:
        await client.connect()
        yield client
    finally:
        await client.shutdown()


async def received(consumer: RabbitmqConsumer, count: int, seconds: float = 20.0) -> list[QueueMessage]:
    found: list[QueueMessage] = []
    deadline = monotonic() + seconds
    while len(found) < count and monotonic() < deadline:
        found += await consumer.consume(count - len(found), 1.0)
    return found


@pytest.fixture
def shop(rabbitmq_server: RabbitmqServer) -> Shop:
    return Shop(rabbitmq_server)


# Confirmations


def test_confirmations_of_equal_ids_are_not_confused(shop: Shop) -> None:
    """aio-pika finds the record that the server returns by its message id; here each publish has one of its own.

    Every second record has no queue, and all carry one message id of the user's, as a header. Each gets its own answer,
    and what was confirmed is in the queue.
    """
    headers = [("message-id", b"the same")]

    async def main() -> None:
        keys = [shop.name if number % 2 == 0 else f"{shop.name}-nowhere" for number in range(40)]
        records = [Record(b"%d" % n, headers=headers, options={"routing_key": key}) for n, key in enumerate(keys)]
        async with shop.consumer() as consumer, shop.producer() as producer:
            answers = await producer.produce(records)
            stored = {b"%d" % n for n, answer in enumerate(answers) if answer is None}
            assert stored == {b"%d" % n for n in range(0, 40, 2)}
            assert all(answer is None or answer.retriable for answer in answers)
            messages = await received(consumer, 20)
            assert {message.message for message in messages} == stored
            ids = {message.message_context.header.properties.message_id for message in messages}
            assert len(ids) == 20
            await consumer.on_success(messages)

    asyncio.run(main())


def test_a_record_without_a_queue_waits_for_one(shop: Shop) -> None:
    """The server would confirm it, and drop it; `mandatory: false` allows that."""
    exchange = {"exchange": f"{shop.name}-x", "exchange_type": "fanout"}

    async def main() -> None:
        async with shop.producer(**exchange) as producer, shop.producer(**exchange, mandatory=False) as careless:
            (answer,) = await producer.produce([Record(b"1")])
            assert isinstance(answer, ProduceError)
            assert answer.retriable
            assert await careless.produce([Record(b"dropped")]) == [None]
            async with shop.consumer(**exchange) as consumer:
                assert await producer.produce([Record(b"1")]) == [None]
                assert [message.message for message in await received(consumer, 1)] == [b"1"]

    asyncio.run(main())


def test_what_a_full_queue_refuses_may_be_taken_later(shop: Shop) -> None:
    """Its neighbours that found room are stored."""

    async def main() -> None:
        arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
        async with shop.consumer(arguments=arguments), shop.producer(arguments=arguments) as producer:
            answers: list[ProduceError | None] = []
            for number in range(8):
                answers += await producer.produce([Record(b"%d" % number)])
            refused = [answer for answer in answers if answer is not None]
            assert refused
            assert all(answer.retriable for answer in refused)
            assert answers[0] is None

    asyncio.run(main())


def test_a_queue_that_is_deleted_is_made_again(shop: Shop) -> None:
    """Both sides say that they are not connected; `connect` makes the queue anew."""

    async def main() -> None:
        async with shop.producer() as producer, shop.consumer() as consumer:
            await producer.produce([Record(b"1")])
            await received(consumer, 1)
            async with shop.raw() as channel:
                await channel.queue_delete(shop.name)
            with pytest.raises(NotConnected):
                await producer.produce([Record(b"2")])
            with pytest.raises(NotConnected):
                await consumer.consume(1, 10.0)
            await producer.connect()
            await consumer.connect()
            assert await producer.produce([Record(b"2")]) == [None]
            assert [message.message for message in await received(consumer, 1)] == [b"2"]

    asyncio.run(main())


# Routing


@pytest.mark.parametrize(
    ("kind", "binding", "keys", "expected"),
    [
        ("direct", {"bindings": ["a", "b"]}, ["a", "b", "c"], [b"a", b"b"]),
        (
            "topic",
            {"bindings": ["order.#", "*.eu"]},
            ["order.us.new", "bill.eu", "bill.us"],
            [b"order.us.new", b"bill.eu"],
        ),
        ("fanout", {}, ["a", "b"], [b"a", b"b"]),
        ("headers", {"binding_arguments": {"x-match": "any", "key": "b", "other": "c"}}, ["a", "b"], [b"b"]),
    ],
)
def test_every_type_of_exchange_routes(
    shop: Shop, kind: str, binding: dict[str, Any], keys: Sequence[str], expected: list[bytes]
) -> None:
    """By the routing key of the record, by patterns, to all, or by headers."""
    exchange = {"exchange": f"{shop.name}-{kind}", "exchange_type": kind}

    async def main() -> None:
        async with shop.consumer(**exchange, **binding) as consumer, shop.producer(**exchange) as producer:
            records = [Record(k.encode(), headers=[("key", k.encode())], options={"routing_key": k}) for k in keys]
            answers = await producer.produce(records)
            assert [keys[n].encode() for n, answer in enumerate(answers) if answer is None] == expected
            messages = await received(consumer, len(expected))
            assert Counter(message.message for message in messages) == Counter(expected)
            assert messages[0].message_context.routing_key in keys
            await consumer.on_success(messages)

    asyncio.run(main())


def test_a_delayed_record_goes_through_its_exchange(shop: Shop) -> None:
    """To every queue that is bound by then, with the routing key that it had."""
    exchange = {"exchange": f"{shop.name}-x", "exchange_type": "topic", "bindings": ["order.*"]}

    async def main() -> None:
        async with shop.consumer(**exchange) as consumer, shop.producer(**exchange) as producer:
            began = monotonic()
            late = Record(b"late", delay=0.7, options={"routing_key": "order.eu"})
            assert await producer.produce([late]) == [None]
            (message,) = await received(consumer, 1)
            assert monotonic() - began >= 0.7
            assert (message.message, message.message_context.routing_key) == (b"late", "order.eu")
            assert list(message.headers) == []

    asyncio.run(main())


# What the server may do to messages


def test_a_delivery_limit_of_others_is_recognised(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The server gives up what Penstock still retries, so the log says so."""

    async def main() -> None:
        async with shop.raw() as channel:
            arguments = {"x-queue-type": "quorum", "x-delivery-limit": 3}
            await channel.declare_queue(shop.name, durable=True, arguments=arguments)
        async with shop.consumer():
            pass

    with caplog.at_level(logging.WARNING, "penstock.rabbitmq"):
        asyncio.run(main())

    assert "delivery limit" in caplog.text
    assert "dead-letter exchange" in caplog.text


def test_a_queue_of_another_type_is_refused(shop: Shop) -> None:
    """A classic queue counts no deliveries, which this connector promises."""

    async def main() -> None:
        async with shop.raw() as channel:
            await channel.declare_queue(shop.name, durable=True)
        async with shop.consumer():
            pass

    with pytest.raises(FatalConnectorError, match=r"rabbitmq\.classic"):
        asyncio.run(main())


def test_a_slow_server_loses_and_repeats_nothing(shop: Shop, proxy: Callable[..., Proxy]) -> None:
    """40 ms a round trip, 20 settlements at a time: messages are settled once, and none is late."""
    wire = proxy("127.0.0.1", shop.server.port)

    async def main() -> None:
        async with shop.producer() as producer, shop.consumer(port=wire.port) as consumer:
            await producer.produce([Record(b"%d" % number) for number in range(200)])
            wire.delay(0.02)
            messages = await received(consumer, 200)
            late = await asyncio.gather(*(consumer.on_success(messages[n::20]) for n in range(20)))
            assert sum(filter(None, late)) == 0
            assert await consumer.lag() == 0
        async with shop.consumer() as consumer:
            assert await consumer.consume(1, 1.0) == []

    asyncio.run(main())


# TLS and authentication


@pytest.fixture
def trusted(rabbitmq_server: RabbitmqServer, tmp_path: Path) -> dict[str, str]:
    """Paths for the option `tls`: the server's authority, and a certificate of the user guest."""
    if not rabbitmq_server.tls_port:
        missing("rabbitmq", "the server of PENSTOCK_TEST_RABBITMQ has no certificates that are known here")
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    guest = rabbitmq_server.authority.issue_cert("guest@example.org", common_name="guest")
    rabbitmq_server.authority.cert_pem.write_to_path(paths["ca"])
    guest.cert_chain_pems[0].write_to_path(paths["cert"])
    guest.private_key_pem.write_to_path(paths["key"])
    return {name: str(path) for name, path in paths.items()}


def test_a_client_certificate_says_who_we_are(shop: Shop, trusted: dict[str, str]) -> None:
    """Over TLS, without a password; the certificate's common name is the user."""

    async def main() -> None:
        how = {"port": shop.server.tls_port, "tls": trusted, "mechanism": "external", "username": "no such user"}
        async with shop.producer(**how) as producer, shop.consumer(**how) as consumer:
            assert await producer.produce([Record(b"1")]) == [None]
            assert [message.message for message in await received(consumer, 1)] == [b"1"]

    asyncio.run(main())


def refusal(shop: Shop, **config: Any) -> str:
    """The text of the fatal error that a connection with these options ends in."""

    async def main() -> None:
        async with shop.producer(**config):
            pass

    with pytest.raises(FatalConnectorError) as refused:
        asyncio.run(main())
    return str(refused.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"tls": True}, "`tls.ca`"),
        ({"tls": {"ca": "ca"}, "host": "localhost"}, "write that name as the host"),
        ({"tls": {"ca": "ca"}, "password": "hunter2"}, "`username` and `password`"),
        ({"tls": {"ca": "ca"}, "virtual_host": "nowhere"}, "`virtual_host`"),
    ],
)
def test_a_refusal_names_the_option(shop: Shop, trusted: dict[str, str], config: dict[str, Any], words: str) -> None:
    """Wrong authority, wrong name, wrong password, wrong virtual host; no secret is in the text."""
    if isinstance(config["tls"], dict):
        config = {**config, "tls": {"ca": trusted["ca"]}}

    text = refusal(shop, port=shop.server.tls_port, **config)

    assert words in text
    assert "hunter2" not in text


def test_an_expired_certificate_is_named(shop: Shop, trusted: dict[str, str]) -> None:
    """The remedy is with the server."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shop.server.authority.issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)

    async def main() -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with shop.producer(port=port, tls={"ca": trusted["ca"]}):
                pass

    with pytest.raises(FatalConnectorError, match="expired"):
        asyncio.run(main())


# The manual


def test_the_session_of_the_manual_prints_what_its_page_says(rabbitmq_server: RabbitmqServer, tmp_path: Path) -> None:
    """Typed in a folder with the page's files, on this server."""
    run_sessions(
        DOCS / "how_to" / "rabbitmq.md", tmp_path, "rabbitmq", RABBITMQ_URL=f"amqp://127.0.0.1:{rabbitmq_server.port}"
    )
