"""A session with the server: what it is told when it begins, and what others may have done to its surroundings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import psycopg
import pytest
from tests.servers.postgres import PostgresServer

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_postgres import enqueue
from penstock_postgres.session import Session

Sql = Callable[..., list[tuple[Any, ...]]]
Consumed = Callable[..., Any]
SQL = psycopg.sql.SQL


@pytest.fixture
def paused(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The server, to be paused by the test, and resumed whatever happens."""
    yield postgres
    postgres.resume()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_another_default_isolation_does_not_make_consumers_collide(
    opener: Any, consumed: Consumed, dsn: str, level: str
) -> None:
    """A role or a database may have one; under it a claim would fail whenever another consumer claims."""
    escaped = level.replace(" ", "\\ ")
    own = psycopg.conninfo.make_conninfo(dsn, options=f"-c default_transaction_isolation={escaped}")

    async def main() -> None:
        async with (
            opener.producer(dsn=own) as producer,
            opener.consumer(dsn=own) as one,
            opener.consumer(dsn=own) as other,
        ):
            await producer.produce([Record(b"x") for _ in range(300)])
            taken = await asyncio.gather(*(consumed(each, 150, at_once=5) for each in (one, other)))
            assert len({message.position for each in taken for message in each}) == 300

    asyncio.run(main())


@pytest.mark.parametrize(("asked", "had"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
def test_what_is_confirmed_is_on_the_disk_whatever_the_role_says(opener: Any, dsn: str, asked: str, had: str) -> None:
    """`synchronous_commit = off` is raised for storing and settling; stronger levels are not lowered."""
    own = psycopg.conninfo.make_conninfo(dsn, options=f"-c synchronous_commit={asked}")
    level = SQL("SHOW synchronous_commit")

    async def main() -> None:
        async with opener.producer(dsn=own) as producer, opener.consumer(dsn=own) as consumer:
            assert await producer._session.run(level) == [(had,)]
            assert await consumer._settling.run(level) == [(had,)]
            # A claim that a crash undoes was never made, so no call waits for the disk because of it.
            assert await consumer._claims.session.run(level) == [("off",)]

    asyncio.run(main())


def test_a_database_of_another_encoding_keeps_every_byte(
    opener: Any, consumed: Consumed, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its encoding may not be able to write in a header, an error's text for one, is base64 there."""
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    name = "in_latin1"
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    own = psycopg.conninfo.make_conninfo(postgres.dsn, dbname=name)

    async def main() -> None:
        where = {"dsn": own, "schema": "public"}
        async with opener.producer("größe", **where) as producer, opener.consumer("größe", **where) as consumer:
            body = "€".encode()
            sent = [("größe", "ü".encode()), ("price", body), ("plain", b"5")]
            assert not any(await producer.produce([Record(body, body, sent)]))
            async with await psycopg.AsyncConnection.connect(own) as connection:
                await enqueue(connection, "größe", [Record(body, body, sent)])
            for message in await consumed(consumer, 2):
                assert (message.message, message.key, message.headers) == (body, body, sent)

    asyncio.run(main())


def test_a_transaction_pooler_in_between_is_named(opener: Any) -> None:
    """It gives us another session, in which our statements are not prepared, and says only that."""

    async def main() -> None:
        async with opener.consumer() as consumer:
            await consumer.consume(1, 0)
            # What another session is like. Not through psycopg's own cursors, which would know.
            await asyncio.to_thread(consumer._claims.session._client.pgconn.exec_, b"DEALLOCATE ALL")
            with pytest.raises(FatalConnectorError, match="a transaction pooler seems to be in between"):
                await consumer.consume(1, 5.0)

    asyncio.run(main())


def test_a_session_that_could_not_be_prepared_is_not_taken_for_good(dsn: str, opener: Any) -> None:
    """Not the second time either: it would wait without LISTEN."""

    async def main() -> None:
        connection = Session(opener.options(), SQL("SELECT 1 / 0"))
        for _ in range(2):
            with pytest.raises(ConnectorError):
                await connection.open()
        await connection.close()

    asyncio.run(main())


def test_each_step_of_a_transaction_has_its_own_time(opener: Any) -> None:
    """A transaction of many steps may take long; only a step without an end means that the server is gone."""

    async def main() -> None:
        connection = Session(opener.options(timeout=1.0))
        await connection.open()
        async with connection.transaction():
            for _ in range(4):
                await connection.run(SQL("SELECT pg_sleep(0.7)"))
        with pytest.raises(NotConnected, match="statement timeout"):
            await connection.run(SQL("SELECT pg_sleep(30)"))
        await connection.close()

    asyncio.run(main())


def test_a_process_that_stood_still_does_not_take_the_server_for_away(opener: Any, sql: Sql) -> None:
    """A function that blocks the event loop for longer than `timeout`, wherever a call has come meanwhile."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            producers = [await stack.enter_async_context(opener.producer(timeout=1.0)) for _ in range(5)]
            calls = []
            for producer in producers:
                calls.append(asyncio.create_task(producer.produce([Record(b"x")])))
                await asyncio.sleep(0)
            time.sleep(2)
            assert await asyncio.gather(*calls) == [[None]] * 5

    asyncio.run(main())
    assert sql("SELECT count(*) FROM penstock_messages") == [(5,)]


def test_a_consumer_that_never_waits_does_not_hoard_notifications(opener: Any, consumed: Consumed) -> None:
    """psycopg keeps each until it is read, so a busy week would fill the memory."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            until, number = monotonic() + 1.0, 0
            while monotonic() < until or number < 20:
                await producer.produce([Record(b"x")])
                await consumed(consumer, 1)
                number += 1
            kept = [each async for each in consumer._claims.session._client.notifies(timeout=0)]
            assert len(kept) < number / 2

    asyncio.run(main())


def test_stopping_is_bounded_while_the_server_does_not_answer(
    opener: Any, consumed: Consumed, paused: PostgresServer
) -> None:
    """Whatever `timeout` says; the leases then run out by themselves."""

    async def main() -> float:
        async with opener.producer() as producer, opener.consumer(timeout=60) as consumer:
            await producer.produce([Record(b"x")])
            await consumed(consumer, 1)
            await producer.shutdown()
            paused.pause()
            began = monotonic()
        return monotonic() - began

    assert asyncio.run(main()) < 12


def test_what_is_held_is_requeued_over_a_new_connection(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """A loss just before the end is not a reason to make others wait for the lease."""

    async def main() -> None:
        async with opener.producer() as producer:
            async with opener.consumer() as consumer:
                await producer.produce([Record(b"x")])
                await consumed(consumer, 1)
                sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'penstock' AND datname = current_database()"
                )
            assert sql("SELECT lease, visible_at FROM penstock_messages") == [(None, None)]

    asyncio.run(main())


def test_a_deadlock_with_another_program_costs_a_repetition_and_no_message(
    opener: Any, consumed: Consumed, dsn: str, schema: str, sql: Sql
) -> None:
    """The server ends one of the two; whichever it was, the rows are settled once."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            await producer.produce([Record(b"1"), Record(b"2")])
            messages = await consumed(consumer, 2)
            touch = f"UPDATE {schema}.penstock_messages SET leased_by = 'me' WHERE body = %s"
            async with await psycopg.AsyncConnection.connect(dsn) as other:
                await other.execute(touch, (b"2",))
                settling = asyncio.create_task(consumer.on_success(messages))
                waiting = (
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE%%'"
                )
                while sql(waiting) == [(0,)]:
                    await asyncio.sleep(0.01)
                try:
                    await other.execute(touch, (b"1",))
                except psycopg.errors.DeadlockDetected:
                    await other.rollback()
            [late] = await asyncio.gather(settling, return_exceptions=True)
            if isinstance(late, NotConnected) and "deadlock" in str(late):  # it was us
                await consumer.connect()
                late = await consumer.on_success(messages)
            assert late == 0
            assert sql("SELECT count(*) FROM penstock_messages") == [(0,)]

    asyncio.run(main())


@pytest.mark.parametrize("settling", [False, True])
def test_an_insert_that_did_not_come_through_is_followed_by_smaller_ones(
    opener: Any, consumed: Consumed, sql: Sql, settling: bool
) -> None:
    """A trigger makes each row slow: all at once would never be done within `timeout`, and nothing would go on."""
    sql("CREATE TABLE slow (id bigint PRIMARY KEY)")
    slowly = "BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END"
    sql(f"CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ {slowly} $$")
    sql("CREATE TRIGGER pause BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION pause()")
    records = [Record(b'{"id": %d}' % number) for number in range(100)]

    async def main() -> None:
        async with (
            opener.producer() as source,
            opener.consumer(timeout=0.5) as consumer,
            opener.table_producer("slow", timeout=0.5) as producer,
        ):
            await source.produce([Record(b"x")])
            messages = await consumed(consumer, 1)
            failures = 0
            left = records
            while left:
                try:
                    if settling:
                        assert (await consumer.transact(messages, [(producer, left)])).committed
                        break
                    answers = await producer.produce(left)
                    left = [record for record, error in zip(left, answers, strict=True) if error is not None]
                except NotConnected:
                    failures += 1
                    assert failures < 5
                    await (consumer if settling else producer).connect()
            assert failures > 0

    asyncio.run(main())
    assert sql("SELECT count(*) FROM slow") == [(100,)]


def test_a_claim_that_did_not_come_through_is_followed_by_a_smaller_one(opener: Any, dsn: str, schema: str) -> None:
    """If it was too much for `timeout`, the same again would be too much for ever."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(timeout=1.0) as consumer:
            await producer.produce([Record(b"x") for _ in range(200)])
            async with await psycopg.AsyncConnection.connect(dsn) as other:
                await other.execute(f"LOCK TABLE {schema}.penstock_messages")
                consumer._claims._wake_at = monotonic() + 60  # straight to the claim
                with pytest.raises(NotConnected):
                    await consumer.consume(200, 1.0)
            consumer._claims._wake_at = 0.0
            await consumer.connect()
            assert len(await consumer.consume(200, 1.0)) == 50
            assert len(await consumer.consume(200, 1.0)) == 150

    asyncio.run(main())


def test_what_statements_depend_on_is_set_in_the_session(opener: Any, consumed: Consumed, dsn: str, sql: Sql) -> None:
    """A server, a database or a role may have other defaults; what is stored and read stays the same."""
    odd = {
        "array_nulls": "off",
        "standard_conforming_strings": "off",
        "extra_float_digits": "-15",
        "bytea_output": "escape",
        "datestyle": "SQL,\\ DMY",
        "intervalstyle": "sql_standard",
        "lock_timeout": "1",
    }
    own = psycopg.conninfo.make_conninfo(dsn, options=" ".join(f"-c {key}={value}" for key, value in odd.items()))
    sql("CREATE TABLE things (id bigint PRIMARY KEY, f float8, b bytea, r tstzrange, i interval)")
    sql(r"INSERT INTO things VALUES (1, 0.1::float8 + 0.2, '\x00ff', '[2024-05-17,2024-05-18)', '26 hours')")

    async def main() -> tuple[Any, Any]:
        async with (
            opener.producer(dsn=own) as producer,
            opener.consumer(dsn=own) as consumer,
            opener.table_consumer("things", dsn=own, create=True) as table,
        ):
            records = [Record(b"a", None), Record(b"b", b"NULL", [("h", b"\\'")]), Record(None, b"k")]
            assert await producer.produce(records) == [None] * 3
            messages = await consumed(consumer, 3)
            [row] = await consumed(table, 1)
            return [(m.message, m.key, list(m.headers)) for m in messages], row.message

    messages, row = asyncio.run(main())

    assert messages == [(b"a", None, []), (b"b", b"NULL", [("h", b"\\'")]), (None, b"k", [])]
    assert b"0.30000000000000004" in row
    assert b'"\\\\x00ff"' in row
    assert b"2024-05-17" in row
    assert b"26:00:00" in row


@pytest.mark.parametrize("side", ["producer", "consumer", "table_producer"])
def test_a_session_that_is_read_only_is_refused_when_it_begins(opener: Any, dsn: str, sql: Sql, side: str) -> None:
    """It would consume nothing, and its drain would not end; the text says what to change."""
    own = psycopg.conninfo.make_conninfo(dsn, options="-c default_transaction_read_only=on")
    sql("CREATE TABLE plain (id bigint PRIMARY KEY)")

    async def main() -> None:
        async with getattr(opener, side)("plain", dsn=own):
            pass

    with pytest.raises(FatalConnectorError, match="default_transaction_read_only is on for this user"):
        asyncio.run(main())
