"""What Service Bus and its client do that others do not: on the double, and on a real namespace if one is named."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from tests.servers.servicebus import ServiceBusServer

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_azure.servicebus.consumer import ServiceBusConsumer

OTHER_KEY = "aHVudGVyMg=="


def test_renewals_at_the_same_time_do_not_end_the_connection(bus: Any, consumed: Any) -> None:
    """azure-servicebus 7.15 gives requests that begin together one delivery id, and the service disconnects it."""

    async def main() -> None:
        async with bus.producer() as producer, bus.consumer() as consumer:
            await producer.produce([Record(b"%d" % number) for number in range(8)])
            held = await consumed(consumer, 8)
            waiting = asyncio.create_task(consumer.consume(1, 2.0))
            await asyncio.gather(*(consumer.extend([message]) for message in held), consumer.browse(1))
            assert await waiting == []
            assert await consumer.on_success(held) == 0
            assert consumer.lost_leases == 0

    asyncio.run(main())


def test_what_an_earlier_connection_received_is_settled_by_a_new_one(bus: Any, consumed: Any) -> None:
    """A lock belongs to its message; all of them at once, which the client alone would not survive."""

    async def main() -> None:
        async with bus.producer() as producer, bus.consumer() as consumer:
            await producer.produce([Record(b"%d" % number) for number in range(8)])
            held = await consumed(consumer, 8)
            await consumer.connect()
            assert await consumer.on_success(held[:6]) == 0
            assert await consumer.on_fail(held[6:]) == 0
            again = await consumed(consumer, 2)
            assert [message.attempts for message in again] == [2, 2]
            assert await consumer.on_success(again) == 0
            assert await consumer.browse(10) == []

    asyncio.run(main())


def test_a_record_that_is_sent_again_has_the_same_id(bus: Any, consumed: Any) -> None:
    """By it a queue with duplicate detection stores it once; a program may give its own."""

    async def main() -> None:
        record, own = Record(b"x"), Record(b"y", options={"message_id": "42", "subject": "paid"})
        async with bus.producer() as producer, bus.consumer() as consumer:
            await producer.produce([record])
            await producer.produce([record, own])
            first, second, third = (message.message_context for message in await consumed(consumer, 3))
            assert first.message_id == second.message_id
            assert (third.message_id, third.subject) == ("42", "paid")

    asyncio.run(main())


def test_a_message_of_another_program_comes_as_it_is(
    servicebus_server: ServiceBusServer, bus: Any, consumed: Any
) -> None:
    """Its properties are headers, also numbers; a body in several parts is one."""

    async def main() -> None:
        client = ServiceBusClient.from_connection_string(servicebus_server.connection_string())
        async with client, client.get_queue_sender(bus.queue) as sender, bus.consumer() as consumer:
            await sender.send_messages(ServiceBusMessage("text", application_properties={"count": 3, "kind": "new"}))
            (message,) = await consumed(consumer, 1)
            assert (message.message, message.key) == (b"text", None)
            assert message.headers == [("count", b"3"), ("kind", b"new")]

    asyncio.run(main())


def test_headers_that_are_text_are_seen_by_other_programs(servicebus_server: ServiceBusServer, bus: Any) -> None:
    """As properties of their names; of others, all are in one of ours."""

    async def main() -> None:
        client = ServiceBusClient.from_connection_string(servicebus_server.connection_string())
        receiver = client.get_queue_receiver(bus.queue)
        async with client, receiver, bus.producer() as producer:
            records = [Record(b"", headers=[("kind", b"new")], key=b"a b"), Record(b"", headers=[("sum", b"\xff")])]
            await producer.produce(records)
            plain, other = (message.application_properties for message in await receiver.peek_messages(2))
            assert plain == {b"kind": b"new", b"penstock-key": b"a%20b"}
            assert other == {b"penstock-headers": b'[["sum", {"base64": "/w=="}]]'}

    asyncio.run(main())


def test_a_shorter_lock_is_noticed(servicebus_server: ServiceBusServer, bus: Any, consumed: Any) -> None:
    """So that it is renewed in time, whatever `lock_duration` says."""

    async def main() -> None:
        async with (
            bus.producer() as producer,
            bus.consumer(connection_string=servicebus_server.connection_string(name="short")) as consumer,
        ):
            assert consumer.lease == 60.0
            await producer.produce([Record(b"x")])
            (message,) = await consumed(consumer, 1)
            assert consumer.lease == 1.0
            await asyncio.sleep(1.5)
            assert await consumer.on_success([message]) == 1  # its lock has ended

    asyncio.run(main())


def test_a_slow_service_ends_no_lock(servicebus_server: ServiceBusServer, proxy: Any, bus: Any, consumed: Any) -> None:
    """40 ms a round trip, twenty messages settled at the same time, renewals beside them: none is late."""
    wire = proxy(servicebus_server.host, servicebus_server.port)

    async def main() -> None:
        where = {"connection_string": servicebus_server.connection_string(wire.port)}
        async with bus.producer() as producer, bus.consumer(**where) as consumer:
            await producer.produce([Record(b"%d" % number) for number in range(60)])
            wire.delay(0.02)
            held = await consumed(consumer, 60)
            room = asyncio.Semaphore(20)

            async def settle(message: Any) -> int:
                async with room:
                    await asyncio.sleep(0.1)
                    return int(await consumer.on_success([message]) or 0)

            async def keep() -> None:
                while True:
                    await asyncio.sleep(0.3)
                    await consumer.extend(held)

            extending = asyncio.create_task(keep())
            late = await asyncio.gather(*(settle(message) for message in held))
            extending.cancel()
            with suppress(asyncio.CancelledError):
                await extending
            assert (sum(late), consumer.lost_leases) == (0, 0)

    asyncio.run(main())


def refusal(bus: Any, kind: type[ConnectorError], queue: str = "", **options: Any) -> str:
    """What a consumer says that cannot work; that a queue is missing, the service says after it has connected."""

    async def main() -> None:
        consumer = ServiceBusConsumer(queue or bus.queue, bus.options(**options))
        try:
            await consumer.connect()
            await consumer.consume(1, 5.0)
        finally:
            await consumer.shutdown()

    with pytest.raises(kind) as refused:
        asyncio.run(main())
    assert type(refused.value) is kind
    assert OTHER_KEY[:-2] not in str(refused.value)
    return str(refused.value)


def test_a_wrong_key_is_fatal_and_names_the_option(servicebus_server: ServiceBusServer, bus: Any) -> None:
    """Trying again would not help; no key is shown."""
    text = refusal(bus, FatalConnectorError, connection_string=servicebus_server.connection_string(key=OTHER_KEY))

    assert "check `connection_string`" in text
    assert "AZURE_SERVICE_BUS_CONNECTION_STRING" in text


def test_a_queue_that_is_missing_is_waited_for(bus: Any) -> None:
    """Somebody may create it."""
    assert "create the queue" in refusal(bus, NotConnected, queue="missing-orders")


def test_a_real_namespace_keeps_the_promises(servicebus_namespace: Any) -> None:
    """Send, receive, renew, requeue, settle, delay: what the double answers is what the service answers."""
    from penstock_azure.servicebus.options import ServiceBusOptions
    from penstock_azure.servicebus.producer import ServiceBusProducer

    namespace, queues = servicebus_namespace
    options, queue = ServiceBusOptions(connection_string=namespace, timeout=30), next(queues)
    producer, consumer = ServiceBusProducer(queue, options), ServiceBusConsumer(queue, options)

    async def main() -> None:
        try:
            await producer.connect()
            await consumer.connect()
            records = [Record(b"a", b"key", [("h", b"1"), ("i", b"\xff")]), Record(None), Record(b"later", delay=5.0)]
            assert await producer.produce(records) == [None] * 3
            held = await consumer.consume(10, 5.0)
            assert {(m.message, m.key, tuple(m.headers)) for m in held} >= {
                (b"a", b"key", (("h", b"1"), ("i", b"\xff"))),
                (None, None, ()),
            }
            await consumer.extend(held)
            await consumer.connect()
            assert await consumer.on_fail(held) == 0
            again: list[Any] = []
            while len(again) < 3:
                again += await consumer.consume(10, 10.0)
            assert sorted(message.attempts for message in again) == [1, 2, 2]
            assert await consumer.on_success(again) == 0
        finally:
            await producer.shutdown()
            await consumer.shutdown()

    asyncio.run(main())
