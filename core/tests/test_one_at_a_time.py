"""Connectors written one message at a time, as the reference documents them: made, called and closed by the adapter."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from core.tests.foreign import DeletingConsumer, RowConsumer, RowProducer, Table, consumer_of, run

from penstock.connectors import Consumer, Producer
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import QueueMessage
from penstock.queues.adapters import make_consumer, make_producer
from penstock.queues.one_at_a_time import OneAtATimeConsumer, OneAtATimeProducer

# -- being made


@pytest.mark.parametrize("side", ["consumer", "producer"])
def test_it_is_made_when_it_is_connected_and_on_its_own_thread(side: str) -> None:
    """Its constructor is where such a class connects, which may take its time: never on the event loop's thread."""
    table = Table()
    config = {"table": table, "host": "db.example", "port": 5432}

    async def main() -> None:
        made: Consumer | Producer
        if side == "consumer":
            made = make_consumer(RowConsumer, "rows", config)
        else:
            made = make_producer(RowProducer, "rows", config)
        assert (made.name, table.asked) == ("rows", [])
        await made.connect()
        await made.shutdown()

    run(main())

    assert table.made_with == [("rows", "db.example", {"port": 5432})]
    assert table.asked == ["make", "shutdown"]
    assert len(table.threads) == 1
    assert threading.get_ident() not in table.threads
    assert config["host"] == "db.example"


def test_without_a_host_it_is_made_with_none() -> None:
    """`host` is one of the reference's three arguments, whatever the config says."""
    table = Table()

    async def main() -> None:
        await (await consumer_of(table)).shutdown()

    run(main())

    assert table.made_with == [("rows", None, {})]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ConnectionRefusedError(111, "refused"), NotConnected, "RowConsumer() raised ConnectionRefusedError: "),
        (TimeoutError("slow"), NotConnected, "RowConsumer() raised TimeoutError: slow"),
        (KeyError("dsn"), ConnectorError, "RowConsumer() raised KeyError: 'dsn'"),
        (NotConnected("away", retry_after=9), NotConnected, "away"),
        (FatalConnectorError("wrong password"), FatalConnectorError, "wrong password"),
    ],
)
def test_a_constructor_that_fails_is_named_and_can_be_tried_again(error: Exception, kind: type, text: str) -> None:
    """A socket's own errors mean that the backend is away; what else is raised is a refusal, told with its class."""
    table = Table()
    table.failures["make"] = [error]

    async def main() -> None:
        consumer = make_consumer(RowConsumer, "rows", {"table": table})
        with pytest.raises(ConnectorError) as caught:
            await consumer.connect()
        assert type(caught.value) is kind
        assert str(caught.value).startswith(text)
        assert caught.value is error or caught.value.__cause__ is error
        await consumer.connect()
        await consumer.shutdown()

    run(main())

    assert table.asked == ["make", "make", "shutdown"]


def test_one_that_was_never_made_is_shut_down_all_the_same() -> None:
    """A shutdown comes last, also after a connect that failed."""
    table = Table()
    table.failures["make"] = [OSError("no route")]

    async def main() -> None:
        consumer = make_consumer(RowConsumer, "rows", {"table": table})
        with pytest.raises(ConnectorError):
            await consumer.connect()
        await consumer.shutdown()

    run(main())

    assert table.asked == ["make"]


def test_a_lost_connection_is_mended_by_making_it_anew() -> None:
    """The old one is shut down first; that this fails too is not a surprise."""
    table = Table(b"1")
    table.failures = {"consume": [ConnectionResetError("gone")], "shutdown": [ConnectionResetError("gone")]}

    async def main() -> None:
        consumer = await consumer_of(table)
        with pytest.raises(NotConnected, match=r"^RowConsumer\.consume\(\) raised ConnectionResetError: gone$"):
            await consumer.consume(1, 0)
        await consumer.connect()
        assert [message.message for message in await consumer.consume(1, 0)] == [b"1"]
        await consumer.shutdown()

    run(main())

    assert table.asked == ["make", "consume", "shutdown", "make", "consume", "shutdown"]


def test_a_call_meanwhile_says_that_it_is_not_connected() -> None:
    """A settlement that comes between a failed and the next attempt is repeated by the queue, and is not a bug."""
    table = Table()

    async def main() -> None:
        consumer = await consumer_of(table)
        table.failures["make"] = [ConnectionError("still away")]
        with pytest.raises(NotConnected):
            await consumer.connect()
        with pytest.raises(NotConnected, match=r"^RowConsumer is not connected$"):
            await consumer.on_success([QueueMessage("#1", b"")])
        await consumer.shutdown()

    run(main())


# -- consuming


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ValueError("torn row"), ConnectorError, "RowConsumer.consume() raised ValueError: torn row"),
        (BrokenPipeError(32, "gone"), NotConnected, "RowConsumer.consume() raised BrokenPipeError: [Errno 32] gone"),
        (NotConnected("away"), NotConnected, "away"),
        (FatalConnectorError("no such table"), FatalConnectorError, "no such table"),
    ],
)
def test_what_consume_raises_is_named_and_steers_the_engine(error: Exception, kind: type, text: str) -> None:
    """A lost connection is mended; anything else is a bug of the class, after which the engine stops."""
    table = Table(b"1")
    table.failures["consume"] = [error]

    async def main() -> None:
        consumer = await consumer_of(table)
        with pytest.raises(ConnectorError) as caught:
            await consumer.consume(1, 0)
        assert (type(caught.value), str(caught.value)) == (kind, text)
        await consumer.shutdown()

    run(main())


def test_messages_come_one_by_one_as_queue_messages() -> None:
    """However many are asked for: who holds a transaction a message should not be made to hold hundreds."""
    table = Table(b"1", b"2")

    async def main() -> list[Sequence[QueueMessage]]:
        consumer = await consumer_of(table)
        taken = [await consumer.consume(100, 0) for _ in range(3)]
        await consumer.shutdown()
        return taken

    first, second, third = run(main())

    assert [(type(each), each.message_context, each.message) for each in (*first, *second)] == [
        (QueueMessage, "#1", b"1"),
        (QueueMessage, "#2", b"2"),
    ]
    assert third == []


def test_a_queue_message_of_ours_is_taken_as_it_is() -> None:
    """With the key and whatever else the class put into it."""

    async def main() -> QueueMessage:
        consumer = await consumer_of(Table(b"1"), DeletingConsumer)
        (message,) = await consumer.consume(1, 0)
        await consumer.shutdown()
        return message

    assert run(main()).key == b"k"


def test_an_empty_queue_is_looked_at_until_the_timeout() -> None:
    """Such a class cannot wait, so it is asked again and again; never in a hot loop, and never without room."""
    table = Table()

    async def main() -> None:
        consumer = await consumer_of(table)
        began = asyncio.get_running_loop().time()
        assert await consumer.consume(10, 0.2) == []
        assert asyncio.get_running_loop().time() - began >= 0.2
        assert 2 <= table.count("consume") <= 1 + 0.2 / OneAtATimeConsumer.IDLE_WAIT + 1
        looked = table.count("consume")
        assert await consumer.consume(0, 0) == []
        assert table.count("consume") == looked
        await consumer.shutdown()

    run(main())


def test_a_message_that_arrives_while_waiting_is_returned_at_once() -> None:
    """A long timeout is how long to wait for the first message, not how long to wait."""
    table = Table()

    async def main() -> Sequence[QueueMessage]:
        consumer = await consumer_of(table)
        waiting = asyncio.create_task(consumer.consume(10, 3600))
        while table.count("consume") < 2:
            await asyncio.sleep(0.001)
        table.rows.append(b"late")
        messages = await waiting
        await consumer.shutdown()
        return messages

    assert [message.message for message in run(main())] == [b"late"]


class Fetching(RowConsumer):
    """Returns what the test put into its table, as a database client returns what it found."""

    def consume(self) -> Any:
        self.table.ask("consume")
        return QueueMessage("#1", self.table.rows.pop(0))


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (b"\xff", b"\xff"),
        (None, None),
        ("caf\u00e9", "caf\u00e9".encode()),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ({"id": 1, "at": datetime(2026, 1, 2, tzinfo=UTC)}, b'{"id":1,"at":"2026-01-02T00:00:00Z"}'),
        ([{"id": 1}], b'[{"id":1}]'),
    ],
    ids=lambda value: type(value).__name__,  # never an address: test ids are the same in every process
)
def test_every_body_becomes_bytes(given: Any, body: bytes | None) -> None:
    """A row goes on as the JSON that a model handler reads: envelopes, dead letters and logs know bytes only."""

    async def main() -> QueueMessage:
        consumer = await consumer_of(Table(given), Fetching)
        (message,) = await consumer.consume(1, 0)
        await consumer.shutdown()
        return message

    assert run(main()).message == body


def test_a_body_that_cannot_be_written_is_named() -> None:
    """By what the class returned, not by what comes later."""

    async def main() -> None:
        consumer = await consumer_of(Table(object()), Fetching)
        with pytest.raises(ConnectorError, match=r"^Fetching\.consume\(\)'s body raised PydanticSerializationError: "):
            await consumer.consume(1, 0)
        await consumer.shutdown()

    run(main())


class Confused(RowConsumer):
    """Returns the body itself."""

    def consume(self) -> Any:
        return b"4111-1111-1111-1111"


def test_what_is_no_message_is_named_by_its_type() -> None:
    """And the value, which is message data, is not shown."""

    async def main() -> None:
        consumer = await consumer_of(Table(), Confused)
        with pytest.raises(ConnectorError) as caught:
            await consumer.consume(1, 0)
        await consumer.shutdown()
        assert str(caught.value) == (
            "Confused.consume() returned a bytes; it must return a penstock.QueueMessage, or None"
        )

    run(main())


# -- settling

ONE, TWO, THREE = (QueueMessage(f"#{number}", b"") for number in (1, 2, 3))


@pytest.mark.parametrize(("connector_class", "method"), [(RowConsumer, "on_success"), (DeletingConsumer, "delete")])
def test_each_message_is_settled_by_its_handle(connector_class: type, method: str) -> None:
    """By `on_success`, or by `delete` where the class has only that; all calls are on the one thread."""
    table = Table()

    async def main() -> None:
        consumer = await consumer_of(table, connector_class)
        assert await consumer.on_success([ONE, TWO]) is None
        await consumer.on_fail([THREE])
        await consumer.on_fail([ONE], 5.0)
        await consumer.shutdown()

    run(main())

    assert table.asked[1:-1] == [f"{method} #1", f"{method} #2", "on_fail #3", "on_fail #1"]
    assert len(table.threads) == 1


@pytest.mark.parametrize("method", ["on_success", "on_fail"])
def test_a_settlement_that_was_cut_short_goes_on_where_it_stopped(method: str) -> None:
    """The queue connects again and repeats the call; a foreign class need not bear to be told twice."""
    table = Table()
    table.failures[f"{method} #2"] = [ConnectionError("gone")]

    async def main() -> None:
        consumer = await consumer_of(table)
        settle = getattr(consumer, method)
        with pytest.raises(NotConnected, match=rf"^RowConsumer\.{method}\(\) raised ConnectionError: gone$"):
            await settle([ONE, TWO, THREE])
        await consumer.connect()
        await settle([ONE, TWO, THREE])
        await settle([ONE])
        await consumer.shutdown()

    run(main())

    settled = [each for each in table.asked if each.startswith(method)]
    assert settled == [f"{method} #1", f"{method} #2", f"{method} #2", f"{method} #3", f"{method} #1"]


@pytest.mark.parametrize("method", ["on_success", "on_fail"])
def test_a_settlement_that_is_refused_is_named(method: str) -> None:
    """The engine stops, and says which class raised what."""
    table = Table()
    table.failures[method] = [KeyError("row 1")]

    async def main() -> None:
        consumer = await consumer_of(table)
        with pytest.raises(ConnectorError, match=rf"^RowConsumer\.{method}\(\) raised KeyError: 'row 1'$") as caught:
            await getattr(consumer, method)([ONE])
        assert not isinstance(caught.value, NotConnected)
        await consumer.shutdown()

    run(main())


def test_a_shutdown_that_fails_is_named_and_ends_the_thread() -> None:
    """The queue logs a `ConnectorError` and goes on closing the others."""
    table = Table()
    table.failures["shutdown"] = [RuntimeError("locked")]

    async def main() -> None:
        consumer = await consumer_of(table)
        with pytest.raises(ConnectorError, match=r"^RowConsumer\.shutdown\(\) raised RuntimeError: locked$"):
            await consumer.shutdown()

    run(main())


def test_both_forms_are_told_by_their_methods() -> None:
    """No base class and no registration: a class with the methods is a connector."""
    assert type(make_consumer(RowConsumer, "rows", {})) is OneAtATimeConsumer
    assert type(make_producer(RowProducer, "rows", {})) is OneAtATimeProducer
