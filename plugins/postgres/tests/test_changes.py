"""The connector `postgres.changes` on a real server: what a change looks like, and what a slot does to the server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy

from penstock.errors import FatalConnectorError, NotConnected
from penstock_postgres import Change
from penstock_postgres.changes import ChangesConsumer
from penstock_postgres.options import ChangesOptions

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(autouse=True)
def slots(postgres: PostgresServer) -> Iterator[None]:
    """No slot outlives its test."""
    with postgres.slots():
        yield


class Reader:
    """Opens consumers of one slot, whose publication has the test's tables."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._options = {"dsn": dsn, "schema": schema, "create": True, "timeout": 5.0}
        self.slot = f"slot_{schema}"

    def consumer(self, **over: Any) -> ChangesConsumer:
        """One that is not connected."""
        return ChangesConsumer(self.slot, ChangesOptions.model_validate({**self._options, **over}))

    @asynccontextmanager
    async def open(self, **over: Any) -> AsyncIterator[ChangesConsumer]:
        """One that is connected."""
        consumer = self.consumer(**over)
        try:
            await consumer.connect()
            yield consumer
        finally:
            await consumer.shutdown()


@pytest.fixture
def reader(dsn: str, schema: str) -> Reader:
    """See `Reader`."""
    return Reader(dsn, schema)


async def take(consumer: ChangesConsumer, count: int) -> list[Any]:
    """So many messages; at most 10 s."""
    found: list[Any] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await consumer.consume(count - len(found), 5.0)
    return found


async def until(question: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it, at most 10 s."""
    async with asyncio.timeout(10):
        while not await question():
            await asyncio.sleep(0.05)


async def read_on(consumer: ChangesConsumer, held: list[Any]) -> None:
    """Settle and consume until that fails, at most 10 s."""
    async with asyncio.timeout(10):
        while True:
            await consumer.on_success(held)
            held += await consumer.consume(5, 0.5)


def changes(messages: list[Any]) -> list[Any]:
    """Their bodies."""
    return [json.loads(message.message) for message in messages]


def test_every_kind_of_change_has_its_form(sql: Sql, reader: Reader, schema: str) -> None:
    """Insert, update, a key that changes, delete and truncate; in one transaction they keep its order."""
    sql("CREATE TABLE users (id integer PRIMARY KEY, name text)")

    async def main() -> list[Any]:
        async with reader.open(tables=["users"]) as consumer:
            sql("INSERT INTO users VALUES (1, 'Ann'), (2, 'Ben')")
            sql("UPDATE users SET name = NULL WHERE id = 1")
            sql("UPDATE users SET id = 3 WHERE id = 2")
            sql("DELETE FROM users WHERE id = 1")
            sql("TRUNCATE users")
            return await take(consumer, 6)

    messages = asyncio.run(main())
    found = changes(messages)

    assert [(each["operation"], each["key"], each["row"], each["old"]) for each in found] == [
        ("insert", {"id": 1}, {"id": 1, "name": "Ann"}, None),
        ("insert", {"id": 2}, {"id": 2, "name": "Ben"}, None),
        ("update", {"id": 1}, {"id": 1, "name": None}, None),
        ("update", {"id": 3}, {"id": 3, "name": "Ben"}, {"id": 2}),
        ("delete", {"id": 1}, None, {"id": 1}),
        ("truncate", None, None, None),
    ]
    assert {each["table"] for each in found} == {f"{schema}.users"}
    assert found[0]["xid"] == found[1]["xid"] != found[2]["xid"]
    headers = dict(messages[0].headers)
    assert headers["postgres-table"] == f"{schema}.users".encode()
    assert headers["postgres-operation"] == b"insert"
    assert headers["postgres-lsn"].decode() == found[0]["lsn"] == messages[0].position.rpartition("/")[0]
    assert headers["postgres-xid"].decode() == str(found[0]["xid"])
    assert messages[0].key == b'{"id":1}'
    assert len({message.position for message in messages}) == 6


def test_a_large_value_that_was_not_changed_is_absent_and_not_null(sql: Sql, reader: Reader) -> None:
    """The server does not send it; a model with a default takes the row, and `unchanged` names the column."""
    sql("CREATE TABLE users (id integer PRIMARY KEY, name text, photo text)")
    sql("ALTER TABLE users ALTER photo SET STORAGE EXTERNAL")

    class User(BaseModel):
        id: int
        name: str
        photo: str | None = None

    async def main() -> list[Any]:
        async with reader.open(tables=["users"]) as consumer:
            sql("INSERT INTO users VALUES (1, 'Ann', repeat('x', 100000))")
            sql("UPDATE users SET name = 'Anna'")
            sql("UPDATE users SET photo = NULL")
            return await take(consumer, 3)

    one, two, three = (Change[User].model_validate_json(message.message) for message in asyncio.run(main()))

    assert one.row is not None
    assert (len(one.row.photo or ""), one.unchanged) == (100_000, [])
    assert two.row is not None
    assert two.unchanged == ["photo"]
    assert "photo" not in two.row.model_fields_set
    assert three.row is not None
    assert three.unchanged == []
    assert "photo" in three.row.model_fields_set
    assert isinstance(two.committed_at, datetime)
    assert abs((datetime.now(UTC) - two.committed_at).total_seconds()) < 60


def test_the_whole_old_row_comes_with_replica_identity_full(sql: Sql, reader: Reader) -> None:
    """PostgreSQL does not say then which columns are the key."""
    sql("CREATE TABLE users (id integer PRIMARY KEY, name text)")
    sql("ALTER TABLE users REPLICA IDENTITY FULL")

    async def main() -> list[Any]:
        async with reader.open(tables=["users"]) as consumer:
            sql("INSERT INTO users VALUES (1, 'Ann')")
            sql("UPDATE users SET name = 'Anna'")
            sql("DELETE FROM users")
            return changes(await take(consumer, 3))

    _insert, update, delete = asyncio.run(main())

    assert (update["old"], update["row"], update["key"]) == ({"id": 1, "name": "Ann"}, {"id": 1, "name": "Anna"}, None)
    assert (delete["old"], delete["row"]) == ({"id": 1, "name": "Anna"}, None)


def test_values_are_those_of_to_json(sql: Sql, reader: Reader) -> None:
    """Also of arrays, domains and what JSON has no number for; a snapshot's row is equal to a change's."""
    sql("CREATE DOMAIN age AS integer")
    sql(
        "CREATE TABLE kinds (id bigint PRIMARY KEY, b boolean, i smallint, f double precision, n numeric, nan numeric, "
        "t timestamp, z timestamptz, d date, j jsonb, a integer[], s text[], m text[], u uuid, by bytea, age age, "
        "iv interval, text text, inf timestamptz)"
    )
    row = (
        9007199254740993, True, -3, 0.1, "1.50", "NaN", "2026-11-27 05:52:57.5", "2026-11-27 07:00:00+02", "2026-11-27",
        '{"a": [1, null]}', [1, None, 3], ["a,b", 'c\\"d', None, "NULL", "", "{e}"], [["a", "b"], ["c", "d"]],
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", b"\x00\xff", 33, "1 day 02:00", 'tab\t"ü€"\\', "infinity",
    )  # fmt: skip
    sql(f"INSERT INTO kinds VALUES ({', '.join(['%s'] * len(row))})", *row)

    async def main() -> list[Any]:
        async with reader.open(tables=["kinds"], snapshot=True) as consumer:
            snapshot = await take(consumer, 1)
            await consumer.on_success(snapshot)
            async with asyncio.timeout(10):
                await consumer.consume(1, 0.2)
            sql("UPDATE kinds SET id = id")
            return changes(snapshot + await take(consumer, 1))

    snapshot, change = asyncio.run(main())

    assert snapshot["operation"] == "snapshot"
    assert snapshot["key"] == change["key"] == {"id": 9007199254740993}
    assert change["row"] == snapshot["row"]
    assert change["row"]["s"] == row[11]
    assert change["row"]["m"] == [["a", "b"], ["c", "d"]]
    assert change["row"]["z"] == "2026-11-27T05:00:00+00:00"
    assert change["row"]["nan"] == "NaN"
    assert change["row"]["age"] == 33


def test_a_snapshot_comes_before_the_changes_and_again_if_it_was_not_settled(sql: Sql, reader: Reader) -> None:
    """A worker that ends in the middle of it leaves no slot behind, so the next one begins anew."""
    sql("CREATE TABLE users (id integer PRIMARY KEY)")
    sql("INSERT INTO users SELECT generate_series(1, 30)")

    async def main() -> list[Any]:
        async with reader.open(tables=["users"], snapshot=True) as consumer:
            await consumer.on_success(await take(consumer, 20))
        assert not sql("SELECT FROM pg_replication_slots WHERE slot_name = %s", reader.slot)
        async with reader.open(tables=["users"], snapshot=True) as consumer:
            first = await take(consumer, 30)
            sql("INSERT INTO users VALUES (31)")
            assert await consumer.consume(10, 0.2) == []
            await consumer.on_success(first)
            first += await take(consumer, 1)
            await consumer.on_success(first[-1:])
        async with reader.open(tables=["users"], snapshot=True) as consumer:
            assert await consumer.consume(10, 0.3) == []
        return changes(first)

    found = asyncio.run(main())

    assert [each["row"]["id"] for each in found] == list(range(1, 32))
    assert [each["operation"] for each in found] == ["snapshot"] * 30 + ["insert"]


def test_a_transaction_comes_again_until_its_last_change_is_settled(sql: Sql, reader: Reader) -> None:
    """A slot knows transactions only: a position in the middle of one would mean nothing to it."""
    sql("CREATE TABLE users (id integer PRIMARY KEY)")

    async def main() -> None:
        async with reader.open(tables=["users"]) as consumer:
            sql("INSERT INTO users SELECT generate_series(1, 3)")
            sql("INSERT INTO users VALUES (4)")
            found = await take(consumer, 4)
            await consumer.on_success(found[:2])
        async with reader.open(tables=["users"]) as consumer:
            again = await take(consumer, 4)
            assert [message.position for message in again] == [message.position for message in found]
            await consumer.on_success([again[3], again[0], again[2]])
            await consumer.on_success([again[1]])
        async with reader.open(tables=["users"]) as consumer:
            assert await consumer.consume(10, 0.3) == []

    asyncio.run(main())


def test_a_slot_retains_wal_while_a_change_is_not_settled(
    sql: Sql, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk of the server fills up because of one message; the worker warns, and settling lets the log go."""
    sql("CREATE TABLE users (id integer PRIMARY KEY)")
    sql("CREATE TABLE other (text text)")
    retained = (
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) FROM pg_replication_slots "
        "WHERE slot_name = %s"
    )

    async def main() -> None:
        async with reader.open(tables=["users"], heartbeat=0.1, warn_retained=1_000_000) as consumer:
            sql("INSERT INTO users VALUES (1)")
            held = await take(consumer, 1)
            sql("INSERT INTO other SELECT repeat(md5(n::text), 50) FROM generate_series(1, 5000) n")
            for _ in range(5):
                assert await consumer.consume(1, 0.1) == []
            assert sql(retained, reader.slot)[0][0] > 5_000_000
            await consumer._watch()
            assert (consumer.retained or 0) > 5_000_000
            await consumer.on_success(held)

            async def is_free() -> bool:
                await consumer.consume(1, 0)
                return bool(sql(retained, reader.slot)[0][0] < 1_000_000)

            await until(is_free)

    with caplog.at_level(logging.WARNING, "penstock.postgres"):
        asyncio.run(main())

    assert any("keeps" in text and reader.slot in text for text in caplog.messages)


def test_a_slot_without_changes_lets_the_log_of_others_go(sql: Sql, reader: Reader) -> None:
    """The heartbeat asks the server for its position, also while only tables change that are not published."""
    sql("CREATE TABLE users (id integer PRIMARY KEY)")
    sql("CREATE TABLE other (text text)")
    behind = "SELECT confirmed_flush_lsn < %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"

    async def main() -> None:
        async with reader.open(tables=["users"], heartbeat=0.1) as consumer:
            sql("INSERT INTO other SELECT repeat(md5(n::text), 50) FROM generate_series(1, 2000) n")
            [[now]] = sql("SELECT pg_current_wal_lsn()::text")

            async def is_free() -> bool:
                assert await consumer.consume(1, 0.05) == []
                return not sql(behind, now, reader.slot)[0][0]

            await until(is_free)

    asyncio.run(main())


def test_a_slot_that_lost_its_log_is_fatal(sql: Sql, reader: Reader, postgres: PostgresServer) -> None:
    """Changes are gone: a worker that went on would hide it."""
    sql("CREATE TABLE users (id integer PRIMARY KEY)")
    sql("CREATE TABLE other (text text)")

    async def main() -> str:
        async with reader.open(tables=["users"]):
            pass
        sql("INSERT INTO users VALUES (1)")
        with psycopg.connect(postgres.dsn, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
            admin.execute("SELECT pg_reload_conf()")
            try:
                for _ in range(40):
                    sql("INSERT INTO other SELECT repeat(md5(n::text), 50) FROM generate_series(1, 2000) n")
                    admin.execute("SELECT pg_switch_wal()")
                    admin.execute("CHECKPOINT")
                    if sql("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", reader.slot) == [
                        ("lost",)
                    ]:
                        break
            finally:
                admin.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
                admin.execute("SELECT pg_reload_conf()")
        with pytest.raises(FatalConnectorError) as caught:
            async with reader.open(tables=["users"]):
                pass
        return str(caught.value)

    text = asyncio.run(main())

    assert all(words in text for words in ("is lost", "pg_drop_replication_slot", "snapshot: true"))


def test_a_second_worker_stands_by_until_the_first_is_gone(sql: Sql, reader: Reader) -> None:
    """It is connected, gets nothing, and takes over what was not settled."""
    sql("CREATE TABLE users (id integer PRIMARY KEY)")

    async def main() -> None:
        async with reader.open(tables=["users"]) as first, reader.open(tables=["users"]) as second:
            sql("INSERT INTO users VALUES (1), (2)")
            held = await take(first, 2)
            assert await second.consume(10, 0.3) == []
            await first.shutdown()
            assert [each.position for each in await take(second, 2)] == [each.position for each in held]
            assert await first.on_success(held) == 2

    asyncio.run(main())


def test_after_a_cut_connection_nothing_comes_twice_to_the_same_worker(
    sql: Sql, reader: Reader, dsn: str, postgres: PostgresServer, proxy: Callable[..., Proxy]
) -> None:
    """What is in flight can still be settled: the worker passes over what it has."""
    sql("CREATE TABLE users (id integer PRIMARY KEY)")
    way = proxy(postgres.host, postgres.port)
    through = psycopg.conninfo.make_conninfo(dsn, host=way.host, port=way.port)

    async def main() -> None:
        async with reader.open(tables=["users"], dsn=through) as consumer:
            sql("INSERT INTO users SELECT generate_series(1, 10)")
            held = await take(consumer, 5)
            way.reset()
            with pytest.raises(NotConnected):
                await read_on(consumer, held)
            await consumer.connect()
            while len(held) < 10:
                held += await take(consumer, 1)
            assert len({each.position for each in held}) == len(held)
            assert await consumer.on_success(held) == 0
        async with reader.open(tables=["users"]) as consumer:
            assert await consumer.consume(10, 0.3) == []

    asyncio.run(main())


def test_a_table_without_identity_is_not_published(sql: Sql, reader: Reader) -> None:
    """The application's own UPDATE and DELETE would fail from then on."""
    sql("CREATE TABLE loose (id integer)")

    async def main() -> str:
        with pytest.raises(FatalConnectorError) as caught:
            async with reader.open(tables=["loose"]):
                pass
        return str(caught.value)

    assert "replica identity" in asyncio.run(main())
    assert not sql("SELECT FROM pg_publication WHERE pubname = %s", reader.slot)


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        (None, ["may not replicate", "postgres.poll"]),
        ("ALTER ROLE {} REPLICATION", ["permission denied"]),
    ],
)
def test_a_role_that_may_not_is_told_what_it_lacks(
    sql: Sql, reader: Reader, dsn: str, schema: str, setup: str | None, words: list[str]
) -> None:
    """By the name of the right, and with the connector that does without."""
    role = f"weak_{schema}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'")
    sql("CREATE TABLE users (id integer PRIMARY KEY)")
    if setup:
        sql(setup.format(role))
    weak = psycopg.conninfo.make_conninfo(dsn, user=role, password="s3cret")

    async def main() -> str:
        with pytest.raises(FatalConnectorError) as caught:
            async with reader.open(tables=["users"], dsn=weak):
                pass
        return str(caught.value)

    text = asyncio.run(main())

    assert all(word in text for word in words)
    assert "s3cret" not in text


def test_logical_messages_come_as_they_were_written(sql: Sql, reader: Reader) -> None:
    """An outbox without a table: the content is the body. One without a transaction comes, too; others do not."""

    async def main() -> list[Any]:
        async with reader.open(messages="outbox") as consumer:
            sql("SELECT pg_logical_emit_message(true, 'outbox', '\\x00ff'::bytea)")
            sql("SELECT pg_logical_emit_message(true, 'other', 'no')")
            sql("SELECT pg_logical_emit_message(false, 'outbox', 'at once')")
            sql("SELECT pg_logical_emit_message(false, 'outbox', 'and again')")
            sql("SELECT pg_logical_emit_message(true, 'outbox', '')")
            found = await take(consumer, 4)
            await consumer.on_success(found[:2])
        async with reader.open(messages="outbox") as consumer:
            again = await take(consumer, 2)
            assert [message.position for message in again] == [message.position for message in found[2:]]
            await consumer.on_success(again)
        async with reader.open(messages="outbox") as consumer:
            assert await consumer.consume(10, 0.3) == []
        return found

    found = asyncio.run(main())

    assert [message.message for message in found] == [b"\x00\xff", b"at once", b"and again", b""]
    assert len({message.position for message in found}) == 4
