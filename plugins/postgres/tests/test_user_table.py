"""A table of the user's as a queue: rows are JSON objects, JSON objects are rows, and the table stays the user's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.errors import FatalConnectorError
from penstock.message import Record

Sql = Callable[..., list[tuple[Any, ...]]]
Consumed = Callable[..., Any]

# The table of the reference's example.
REFERENCE = """
CREATE TABLE pg_queue_table (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id text NOT NULL,
    max_plus double precision,
    message_sent_at timestamptz DEFAULT now(),
    visible boolean NOT NULL DEFAULT true
)
"""
TABLE = "pg_queue_table"
VISIBLE = {"visible": "visible", "create": True}


@pytest.fixture
def rows(sql: Sql) -> Sql:
    """The reference's table, with three rows."""
    sql(REFERENCE)
    sql("INSERT INTO pg_queue_table (request_id, max_plus) VALUES ('a', 1.5), ('b', 2), ('c', NULL)")
    return sql


def content(message: Any) -> Any:
    return json.loads(message.message)


def test_rows_come_as_objects_in_the_order_of_their_ids(opener: Any, consumed: Consumed, rows: Sql) -> None:
    """Every column that is not Penstock's own, under its own name."""

    async def main() -> None:
        async with opener.table_consumer(TABLE, **VISIBLE) as consumer:
            messages = await consumed(consumer, 3)
            assert [content(message)["request_id"] for message in messages] == ["a", "b", "c"]
            assert [content(message)["max_plus"] for message in messages] == [1.5, 2.0, None]
            assert list(content(messages[0])) == ["id", "request_id", "max_plus", "message_sent_at"]
            assert [message.message_context for message in messages] == ["1", "2", "3"]

    asyncio.run(main())


def test_visible_is_false_while_a_row_is_worked_on(opener: Any, consumed: Consumed, rows: Sql) -> None:
    """As other programs on this table expect it; a row that is done is deleted, one that is requeued is visible."""

    async def main() -> None:
        async with opener.table_consumer(TABLE, **VISIBLE) as consumer:
            messages = await consumed(consumer, 3)
            assert rows("SELECT request_id FROM pg_queue_table WHERE visible") == []
            assert await consumer.on_success(messages[:1]) == 0
            await consumer.on_fail(messages[1:2])
            assert rows("SELECT request_id, visible FROM pg_queue_table ORDER BY id") == [("b", True), ("c", False)]
            [again] = await consumed(consumer, 1)
            assert (content(again)["request_id"], again.attempts) == ("b", 2)

    asyncio.run(main())


def test_what_another_program_has_made_invisible_is_left_alone(opener: Any, rows: Sql) -> None:
    """It is working on that row."""
    rows("UPDATE pg_queue_table SET visible = false WHERE request_id <> 'b'")

    async def main() -> None:
        async with opener.table_consumer(TABLE, **VISIBLE) as consumer:
            messages = await consumer.consume(10, 0.5)
            assert [content(message)["request_id"] for message in messages] == ["b"]
            assert await consumer.lag() == 0

    asyncio.run(main())


def test_a_worker_that_died_leaves_its_rows_to_others(opener: Any, consumed: Consumed, rows: Sql) -> None:
    """After the lease they are visible again, with one attempt more."""

    async def main() -> None:
        async with opener.table_consumer(TABLE, **VISIBLE, lease=0.3) as dead:
            await consumed(dead, 3)
            async with opener.table_consumer(TABLE, **VISIBLE, poll_interval=30) as consumer:
                messages = await consumed(consumer, 3)
                assert [message.attempts for message in messages] == [2, 2, 2]
                assert await dead.on_success(list(dead._leases)) == 3
                assert rows("SELECT count(*) FROM pg_queue_table") == [(3,)]

    asyncio.run(main())


@pytest.mark.parametrize("delay", [None, 0.1])
def test_a_row_that_is_requeued_is_not_a_suspect(
    opener: Any, consumed: Consumed, rows: Sql, delay: float | None
) -> None:
    """With a delay or without; only one whose lease ended may have killed a worker."""

    async def main() -> None:
        async with opener.table_consumer(TABLE, **VISIBLE) as consumer:
            await consumer.on_fail(await consumed(consumer, 3), delay)
            messages = await consumed(consumer, 3)
            assert [(message.abandoned, message.attempts) for message in messages] == [(0, 2)] * 3
            await consumer.on_fail(messages)
        async with opener.table_consumer(TABLE, **VISIBLE, lease=0.2) as dead:
            await consumed(dead, 3)
            async with opener.table_consumer(TABLE, **VISIBLE) as consumer:
                assert all(message.abandoned for message in await consumed(consumer, 3))

    asyncio.run(main())


def test_a_row_that_is_requeued_often_is_not_a_suspect_of_a_table_that_counts_no_deaths(
    opener: Any, consumed: Consumed, rows: Sql
) -> None:
    """One without the column `penstock_unended_calls`, which an older Penstock prepared."""

    async def main() -> None:
        async with opener.table_consumer(TABLE, create=True):
            rows(f"ALTER TABLE {TABLE} DROP COLUMN penstock_unended_calls")
        async with opener.table_consumer(TABLE) as consumer:
            for _ in range(20):
                messages = await consumed(consumer, 1)
                assert messages[0].abandoned == 0
                await consumer.on_fail(messages)
            assert messages[0].attempts == 20

    asyncio.run(main())


def test_columns_have_the_fields_names_that_the_config_gives_them(opener: Any, consumed: Consumed, rows: Sql) -> None:
    """Both ways; what is not named is not in the message, and keeps its default."""
    columns = {"request": "request_id", "maximum": "max_plus"}

    async def main() -> None:
        async with opener.table_consumer(TABLE, **VISIBLE, columns=columns) as consumer:
            first, *_others = await consumed(consumer, 3)
            assert content(first) == {"request": "a", "maximum": 1.5}
        async with opener.table_producer(TABLE, columns=columns) as producer:
            assert not any(await producer.produce([Record(b'{"maximum": 7, "request": "d"}')]))

    asyncio.run(main())
    [row] = rows("SELECT max_plus, message_sent_at IS NULL, visible FROM pg_queue_table WHERE request_id = 'd'")
    assert row == (7.0, False, True)


def test_objects_become_rows_and_a_field_that_is_missing_gets_the_default(opener: Any, rows: Sql) -> None:
    """In one statement for each run of messages with the same fields, and in their order."""
    bodies = [b'{"request_id": "x%d"}' % number for number in range(4)]
    bodies[2] = b'{"request_id": "x2", "max_plus": 2.5, "message_sent_at": "2026-01-02T03:04:05+00:00"}'

    async def main() -> None:
        async with opener.table_producer(TABLE) as producer:
            assert not any(await producer.produce([Record(body) for body in bodies]))

    asyncio.run(main())
    found = rows("SELECT request_id, max_plus, message_sent_at IS NULL FROM pg_queue_table WHERE id > 3 ORDER BY id")
    assert found == [("x0", None, False), ("x1", None, False), ("x2", 2.5, False), ("x3", None, False)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"request_id": "x", "max": 3}', "has no column for 'max', only for"),
        (b'{"id": 3}', "has no column for 'id'"),  # the database makes it
        (b'{"penstock-envelope": 1, "body": "x"}', "no place for headers or keys"),
        (b"[1]", "this one is a list"),
        (b"\xff", "this one is not JSON"),
        (None, "no null body"),
        (b'{"max_plus": 3}', "null value in column"),
        (b'{"request_id": "x", "max_plus": "s3cret"}', "a value does not fit its column"),
        (b'{"request_id": "\\u0000"}', "a value does not fit its column"),
    ],
)
def test_what_fits_no_row_is_refused_and_its_neighbours_are_not(
    opener: Any, rows: Sql, body: bytes | None, said: str
) -> None:
    """For good, with a sentence, without the data."""

    async def main() -> None:
        async with opener.table_producer(TABLE) as producer:
            good = b'{"request_id": "good", "max_plus": 1}'
            first, bad, last = await producer.produce([Record(good), Record(body), Record(good)])
            assert (first, last) == (None, None)
            assert said in str(bad)
            assert "s3cret" not in str(bad)
            assert not bad.retriable

    asyncio.run(main())
    assert rows("SELECT count(*) FROM pg_queue_table WHERE request_id = 'good'") == [(2,)]


@pytest.mark.parametrize(
    ("definition", "options", "said"),
    [
        ("id bigint PRIMARY KEY", {}, "`penstock postgres adopt jobs --schema test_"),
        ("id bigint", {"create": True}, "column 'id' of table"),
        ("number bigint PRIMARY KEY", {"create": True, "id": "number", "visible": "seen"}, "has no column 'seen'"),
        ("id bigint PRIMARY KEY", {"create": True, "columns": {"a": "b"}}, "has no column 'b'; it has id"),
        (None, {"create": True}, "there is no table"),
    ],
)
def test_a_table_that_will_not_do_is_refused_when_connecting(
    opener: Any, sql: Sql, definition: str | None, options: dict[str, Any], said: str
) -> None:
    """With what to do about it."""
    if definition is not None:
        sql(f"CREATE TABLE jobs ({definition})")

    async def main() -> None:
        async with opener.table_consumer("jobs", **options):
            raise AssertionError("it connected")

    with pytest.raises(FatalConnectorError) as caught:
        asyncio.run(main())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("uuid", ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]),
        ("text", ["a 'quoted' one", "ü"]),
        ("numeric(10, 2)", ["1.50", "2.50"]),
        ("timestamptz", ["2026-01-01 00:00:00.123456+00", "2026-01-02 00:00:00+00"]),
    ],
)
def test_an_id_may_be_of_any_type(opener: Any, consumed: Consumed, sql: Sql, type_: str, values: list[str]) -> None:
    """It goes there and back as the database writes it."""
    sql(f'CREATE TABLE "Jobs" ("Key" {type_} PRIMARY KEY, n integer)')
    for number, value in enumerate(values):
        sql(f'INSERT INTO "Jobs" VALUES (%s::{type_}, %s)', value, number)

    async def main() -> None:
        async with opener.table_consumer("Jobs", id="Key", create=True) as consumer:
            messages = await consumed(consumer, 2)
            assert [content(message)["n"] for message in messages] == [0, 1]
            await consumer.extend(messages)
            assert consumer.lost_leases == 0
            assert await consumer.on_success(messages) == 0

    asyncio.run(main())
    assert sql('SELECT count(*) FROM "Jobs"') == [(0,)]


def test_a_row_and_its_outputs_go_in_one_transaction(opener: Any, consumed: Consumed, rows: Sql) -> None:
    """Out of one table, into another one and into a queue; what does not fit takes all of it back."""
    rows("CREATE TABLE results (request_id text PRIMARY KEY, total integer)")

    async def main() -> None:
        async with (
            opener.table_consumer(TABLE, **VISIBLE) as consumer,
            opener.table_producer("results") as results,
            opener.producer("log") as log,
        ):
            messages = await consumed(consumer, 3)
            good = Record(b'{"request_id": "a", "total": 3}')
            refused = await consumer.transact(messages, [(log, [Record(b"x")]), (results, [good, good])])
            assert [(each.output, each.record) for each in refused.refused] == [(1, 1)]
            assert rows("SELECT count(*) FROM pg_queue_table") == [(3,)]
            done = await consumer.transact(messages, [(log, [Record(b"x")]), (results, [good])])
            assert done.committed

    asyncio.run(main())
    assert rows("SELECT (SELECT count(*) FROM pg_queue_table), (SELECT count(*) FROM results)") == [(0, 1)]


def test_a_late_owner_changes_nothing_in_a_table_either(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Neither extends nor requeues nor settles what another one has, or what it requeued itself."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY)")
    sql("INSERT INTO jobs VALUES (1)")
    leased = "SELECT penstock_lease, penstock_hidden_until FROM jobs"

    async def main() -> None:
        async with (
            opener.table_consumer("jobs", create=True, lease=0.2) as slow,
            opener.table_consumer("jobs") as fast,
        ):
            late = await consumed(slow, 1)
            taken = await consumed(fast, 1)
            before = sql(leased)
            await slow.on_fail(late)
            slow._leases.deliver(late)  # as if this call had come first
            await slow.extend(late)
            assert slow.lost_leases == 1
            assert sql(leased) == before
            await fast.on_fail(taken, 60.0)
            assert sql("SELECT penstock_lease FROM jobs") == [(None,)]
            assert await fast.on_success(taken) == 1

    asyncio.run(main())
    assert sql("SELECT count(*) FROM jobs") == [(1,)]


def test_a_row_that_is_visible_again_may_be_taken_by_any_consumer(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Another program, which knows no token, may have taken it since: who was too slow leaves it alone."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY, visible boolean NOT NULL DEFAULT true)")
    sql("INSERT INTO jobs VALUES (1)")

    async def main() -> None:
        options = {"create": True, "visible": "visible"}
        async with (
            opener.table_consumer("jobs", lease=0.1, **options) as slow,
            opener.table_consumer("jobs", **options) as other,
        ):
            late = await consumed(slow, 1)
            while not await other._claims._wake():
                await asyncio.sleep(0.02)
            assert sql("UPDATE jobs SET visible = false WHERE visible RETURNING id") == [(1,)]
            await slow.extend(late)
            assert slow.lost_leases == 1
            assert await slow.on_success(late) == 1
            await slow.on_fail(late)
            assert sql("SELECT visible, penstock_hidden_until FROM jobs") == [(False, None)]

    asyncio.run(main())


def test_an_empty_object_is_a_row_of_defaults(opener: Any, sql: Sql) -> None:
    """If the table has a default for each column."""
    sql("CREATE TABLE ticks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now())")

    async def main() -> None:
        async with opener.table_producer("ticks") as producer:
            assert not any(await producer.produce([Record(b"{}"), Record(b"{}")]))

    asyncio.run(main())
    assert sql("SELECT count(at) FROM ticks") == [(2,)]
