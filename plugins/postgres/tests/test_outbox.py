"""`enqueue`: a message exists if, and only if, the user's own transaction is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel

from penstock.errors import ConfigError
from penstock.message import Record
from penstock_postgres import enqueue

Sql = Callable[..., list[tuple[Any, ...]]]


class Order(BaseModel):
    id: int


@pytest.fixture
def prepared(opener: Any, sql: Sql) -> Sql:
    """The table of messages, and one of the user's."""

    async def main() -> None:
        async with opener.producer():
            pass

    asyncio.run(main())
    sql("CREATE TABLE orders (id integer)")
    return sql


def test_a_committed_transaction_has_both(prepared: Sql, dsn: str, schema: str) -> None:
    """The user's row and the message."""
    with psycopg.connect(dsn) as connection:
        connection.execute(f"INSERT INTO {schema}.orders VALUES (7)")
        assert enqueue(connection, "placed", [Order(id=7), {"id": 8}, b"raw"], schema=schema) == 3

    assert prepared("SELECT id FROM orders") == [(7,)]
    assert prepared("SELECT queue, body FROM penstock_messages ORDER BY id") == [
        ("placed", b'{"id":7}'),
        ("placed", b'{"id":8}'),
        ("placed", b"raw"),
    ]


def test_a_transaction_that_is_rolled_back_has_neither(prepared: Sql, dsn: str, schema: str) -> None:
    """As if nothing had been."""
    with psycopg.connect(dsn) as connection:
        connection.execute(f"INSERT INTO {schema}.orders VALUES (7)")
        enqueue(connection, "placed", [Order(id=7)], schema=schema)
        connection.rollback()

    assert prepared("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM penstock_messages)") == [(0, 0)]


def test_it_works_the_same_on_an_async_connection(prepared: Sql, dsn: str, schema: str) -> None:
    """Only that it is awaited."""

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            assert await enqueue(connection, "placed", [Order(id=7)], schema=schema) == 1
            assert prepared("SELECT count(*) FROM penstock_messages") == [(0,)]
            await connection.commit()

    asyncio.run(main())
    assert prepared("SELECT body FROM penstock_messages") == [(b'{"id":7}',)]


def test_a_waiting_consumer_has_it_at_the_commit(prepared: Sql, opener: Any, dsn: str, schema: str) -> None:
    """Not before, and not at its next poll."""

    async def main() -> None:
        async with opener.consumer("placed", poll_interval=30) as consumer:
            async with await psycopg.AsyncConnection.connect(dsn) as connection:
                waiting = asyncio.create_task(consumer.consume(1, 25.0))
                record = Record(b"x", b"k", [("h", b"\xff")], options={"priority": 3})
                await enqueue(connection, "placed", [record], schema=schema)
                await asyncio.sleep(0.3)
                assert not waiting.done()
            [message] = await asyncio.wait_for(waiting, 5)
            assert (message.message, message.key, list(message.headers)) == (b"x", b"k", [("h", b"\xff")])

    asyncio.run(main())


def test_any_number_goes_in_in_order(prepared: Sql, dsn: str, schema: str) -> None:
    """In as many statements as it takes; a list of a gigabyte in one would be the end of the connection."""
    with psycopg.connect(dsn) as connection:
        assert enqueue(connection, "placed", (b"%d" % number for number in range(2_500)), schema=schema) == 2_500

    stored = prepared("SELECT body FROM penstock_messages ORDER BY id")
    assert [body for (body,) in stored] == [b"%d" % number for number in range(2_500)]


def test_nothing_to_store_is_nothing_to_do(prepared: Sql, dsn: str, schema: str) -> None:
    """An empty list asks the database nothing."""
    with psycopg.connect(dsn) as connection:
        assert enqueue(connection, "placed", [], schema=schema) == 0
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize(
    "message",
    ["text", b"x", bytearray(b"x"), {"id": 7}, Order(id=7), Record(b"x")],
    ids=lambda message: type(message).__name__,
)
def test_one_message_is_not_taken_for_a_list(prepared: Sql, dsn: str, schema: str, message: Any) -> None:
    """Letters, numbers and fields would be stored one by one."""
    with psycopg.connect(dsn) as connection, pytest.raises(TypeError, match="give a list"):
        enqueue(connection, "placed", message, schema=schema)

    assert prepared("SELECT count(*) FROM penstock_messages") == [(0,)]


@pytest.mark.parametrize("kind", ["Cursor", "ClientCursor", "RawCursor"])
def test_any_kind_of_cursor_may_be_the_connections(prepared: Sql, dsn: str, schema: str, kind: str) -> None:
    """Django's connections have one that writes values into the statement."""
    records = [Record(b"x\xff", b"k", [("h", b"\xff")], options={"priority": 3}), Record(b"%s %(a)s", delay=60)]
    with psycopg.connect(dsn, cursor_factory=getattr(psycopg, kind)) as connection:
        assert enqueue(connection, "placed", records, schema=schema) == 2

    async def main() -> None:
        factory = getattr(psycopg, f"Async{kind}")
        async with await psycopg.AsyncConnection.connect(dsn, cursor_factory=factory) as connection:
            assert await enqueue(connection, "placed", records, schema=schema) == 2

    asyncio.run(main())
    assert prepared("SELECT body, key, priority, headers FROM penstock_messages ORDER BY id") == 2 * [
        (b"x\xff", b"k", 3, [["h", {"base64": "/w=="}]]),
        (b"%s %(a)s", None, 0, None),
    ]


@pytest.mark.parametrize(
    ("messages", "options", "said"),
    [
        ([Record(b"x", options={"partition": 1})], {}, "no option 'partition'"),
        ([b"x"], {"table_name": "a b"}, "not a plain name"),
        ([b"x"], {"queue": "q" * 256}, "at most 255 characters"),
        ([b"x"], {"queue": "a\0b"}, "no NUL"),
    ],
)
def test_mistakes_are_told_before_anything_is_stored(
    dsn: str, schema: str, messages: list[Any], options: dict[str, Any], said: str
) -> None:
    """The user's transaction is not spoilt by them."""
    with psycopg.connect(dsn) as connection:
        with pytest.raises(ConfigError, match=said):
            enqueue(connection, **{"queue": "placed", "messages": messages, "schema": schema, **options})
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
