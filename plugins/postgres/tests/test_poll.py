"""The connector `postgres.poll` on a real PostgreSQL: no row is missed, whenever its transaction commits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel

from penstock.errors import ConnectorError, NotConnected
from penstock_postgres import Change
from penstock_postgres.options import PollOptions
from penstock_postgres.poll import PollConsumer

Sql = Callable[..., list[tuple[Any, ...]]]


class Reader:
    """Opens consumers of one table."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._options = {"dsn": dsn, "schema": schema, "create": True, "timeout": 5.0, "poll_interval": 0.05}

    @asynccontextmanager
    async def open(self, table: str = "users", **over: Any) -> AsyncIterator[PollConsumer]:
        """One that is connected."""
        consumer = PollConsumer(table, PollOptions.model_validate({**self._options, **over}))
        try:
            await consumer.connect()
            yield consumer
        finally:
            await consumer.shutdown()


@pytest.fixture
def reader(dsn: str, schema: str) -> Reader:
    """See `Reader`."""
    return Reader(dsn, schema)


@pytest.fixture(autouse=True)
def users(sql: Sql) -> None:
    """The table."""
    sql("CREATE TABLE users (id bigserial PRIMARY KEY, name text)")


async def take(consumer: PollConsumer, count: int) -> list[Any]:
    """So many messages; at most 10 s."""
    found: list[Any] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await consumer.consume(count - len(found), 5.0)
    return found


def ids(messages: list[Any]) -> list[int]:
    """The ids of their rows."""
    return [json.loads(message.message)["row"]["id"] for message in messages]


def test_a_row_that_commits_late_is_not_missed(sql: Sql, reader: Reader, dsn: str, schema: str) -> None:
    """Its number is lower than that of a row that was committed before it; both come, in the order of transactions."""

    async def main() -> None:
        async with reader.open() as consumer:
            with psycopg.connect(dsn) as late:
                late.execute(f"INSERT INTO {schema}.users (name) VALUES ('late')")
                sql("INSERT INTO users (name) VALUES ('early')")
                assert await consumer.consume(10, 0.3) == []
                assert await consumer.lag() == 1
                late.commit()
            found = await take(consumer, 2)
            assert ids(found) == [1, 2]
            await consumer.on_success(found)
            assert await consumer.lag() == 0

    asyncio.run(main())


def test_lag_counts_what_a_requeue_holds_back(sql: Sql, reader: Reader) -> None:
    """A drain does not stop before it comes again; what is in flight does not count."""

    async def main() -> None:
        async with reader.open() as consumer:
            sql("INSERT INTO users (name) VALUES ('one'), ('two')")
            first, second = await take(consumer, 2)
            assert await consumer.lag() == 0
            await consumer.on_fail([first], 0.5)
            assert await consumer.lag() == 1
            (again,) = await take(consumer, 1)
            assert (ids([again]), again.attempts) == (ids([first]), 2)
            assert await consumer.lag() == 0
            await consumer.on_success([second, again])

    asyncio.run(main())


def test_rows_that_were_there_come_first_and_what_is_settled_stays_settled(sql: Sql, reader: Reader) -> None:
    """The mark moves to the last row before which everything is settled."""
    sql("INSERT INTO users (name) SELECT 'x' FROM generate_series(1, 10)")

    async def main() -> None:
        async with reader.open() as consumer:
            found = await take(consumer, 10)
            await consumer.on_success(found[:4] + found[6:])
        async with reader.open() as consumer:
            again = await take(consumer, 6)
            assert ids(again) == [5, 6, 7, 8, 9, 10]
            await consumer.on_fail(again[:1])
            await consumer.on_success(again[1:])
            [requeued] = await take(consumer, 1)
            assert requeued.attempts == 2
            await consumer.on_success([requeued])
        sql("INSERT INTO users (name) VALUES ('new')")
        async with reader.open() as consumer:
            assert ids(await take(consumer, 1)) == [11]
        async with reader.open(reader="another") as consumer:
            assert ids(await take(consumer, 11)) == list(range(1, 12))

    asyncio.run(main())


def test_workers_that_start_at_once_prepare_a_table_together(reader: Reader) -> None:
    """Each may be the one that adds what is missing."""

    async def main() -> None:
        async with AsyncExitStack() as opened:
            await asyncio.gather(*(opened.enter_async_context(reader.open(timeout=20.0)) for _ in range(8)))

    asyncio.run(main())


def test_an_update_comes_where_a_trigger_says_so(sql: Sql, reader: Reader) -> None:
    """The row comes as it is, once for the last of several changes; the message fits the model of a change."""

    class User(BaseModel):
        id: int
        name: str

    async def main() -> None:
        async with reader.open() as consumer:
            sql(
                "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN NEW.penstock_xid := pg_current_xact_id(); RETURN NEW; END $$"
            )
            sql("CREATE TRIGGER stamp BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp()")
            sql("INSERT INTO users (name) VALUES ('Ann'), ('Ben')")
            await consumer.on_success(await take(consumer, 2))
            sql("UPDATE users SET name = 'Anna' WHERE id = 1")
            [message] = await take(consumer, 1)
            change = Change[User].model_validate_json(message.message)
            assert (change.operation, change.row, change.key) == ("upsert", User(id=1, name="Anna"), {"id": 1})
            assert dict(message.headers)["postgres-xid"].decode() == str(change.xid)

    asyncio.run(main())


def test_a_second_worker_stands_by(sql: Sql, reader: Reader) -> None:
    """It gets what the first has not settled, once that is gone."""
    sql("INSERT INTO users (name) VALUES ('x')")

    async def main() -> None:
        async with reader.open() as first, reader.open() as second:
            held = await take(first, 1)
            assert await second.consume(10, 0.3) == []
            await first.shutdown()
            assert ids(await take(second, 1)) == [1]
            assert await first.on_success(held) == 1

    asyncio.run(main())


def test_a_worker_that_lost_its_session_settles_nothing_that_another_has(sql: Sql, reader: Reader) -> None:
    """The lock ends with the session, and only in that session can the mark be moved."""
    sql("INSERT INTO users (name) VALUES ('x'), ('y')")

    async def main() -> None:
        async with reader.open() as first, reader.open() as second:
            held = await take(first, 2)
            first._session.cut()
            assert ids(await take(second, 2)) == [1, 2]
            with pytest.raises(NotConnected):
                await first.on_success(held)
            await first.connect()
            assert await first.on_success(held) == 2
        async with reader.open() as third:
            assert ids(await take(third, 2)) == [1, 2]

    asyncio.run(main())


def test_the_same_worker_goes_on_after_a_lost_session(sql: Sql, reader: Reader) -> None:
    """Nothing comes twice, and what is in flight can be settled."""
    sql("INSERT INTO users (name) SELECT 'x' FROM generate_series(1, 4)")

    async def main() -> None:
        async with reader.open() as consumer:
            held = await take(consumer, 2)
            consumer._session.cut()
            with pytest.raises(NotConnected):
                await consumer.consume(10, 0.3)
            await consumer.connect()
            held += await take(consumer, 2)
            assert ids(held) == [1, 2, 3, 4]
            assert await consumer.on_success(held) == 0
        async with reader.open() as consumer:
            assert await consumer.consume(1, 0.2) == []

    asyncio.run(main())


def test_a_table_without_the_column_is_told_what_it_needs(reader: Reader) -> None:
    """By the option that adds it."""

    async def main() -> str:
        with pytest.raises(ConnectorError) as caught:
            async with reader.open(create=False):
                pass
        return str(caught.value)

    text = asyncio.run(main())

    assert "penstock_xid" in text
    assert "create: true" in text


def test_a_key_of_several_columns_orders_and_resumes(sql: Sql, reader: Reader) -> None:
    """Text, numbers and times; a percent sign in a name."""
    sql('CREATE TABLE "odd %s" (a text, "b%" timestamptz, n numeric, payload text, PRIMARY KEY (a, "b%", n))')
    sql("INSERT INTO \"odd %s\" SELECT 'k', now(), n / 10.0, 'p' || n FROM generate_series(1, 5) n".replace("%", "%"))

    async def main() -> None:
        options = {"id": ["a", "b%", "n"], "body": "payload"}
        async with reader.open("odd %s", **options) as consumer:
            found = await take(consumer, 2)
            await consumer.on_success(found)
        async with reader.open("odd %s", **options) as consumer:
            found += await take(consumer, 3)
        assert [message.message for message in found] == [b"p1", b"p2", b"p3", b"p4", b"p5"]

    asyncio.run(main())
