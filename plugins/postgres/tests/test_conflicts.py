"""A row that is there already: refused, left as it is, or brought up to date."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.errors import FatalConnectorError, ProduceError
from penstock.message import Record
from penstock_postgres.options import TableOptions

Sql = Callable[..., list[tuple[Any, ...]]]
KEYED = {"on_conflict": "update", "key": ["id"]}


def record(**fields: Any) -> Record:
    """A row."""
    return Record(json.dumps(fields).encode())


@pytest.fixture
def table(sql: Sql) -> Sql:
    """A table with a primary key, and something else that is unique."""
    sql("CREATE TABLE bills (id bigint PRIMARY KEY, total numeric, note text DEFAULT 'new', code text UNIQUE)")
    return sql


def produce(opener: Any, *calls: list[Record], table: str = "bills", **options: Any) -> list[ProduceError | None]:
    """What the producer answers to these calls, one after the other."""

    async def main() -> list[ProduceError | None]:
        async with opener.table_producer(table, **options) as producer:
            return [answer for records in calls for answer in await producer.produce(records)]

    return asyncio.run(main())


def test_a_row_that_comes_again_is_refused_with_the_remedy(opener: Any, table: Sql) -> None:
    """The default: it is not known whether it is the same row."""
    first, again = produce(opener, [record(id=1)], [record(id=1)])

    assert first is None
    assert isinstance(again, ProduceError)
    assert not again.retriable
    assert "on_conflict: ignore" in str(again)


@pytest.mark.parametrize("key", [None, ["id"], "id"])
def test_ignore_leaves_the_row(opener: Any, table: Sql, key: Any) -> None:
    """In one batch and in a later one; the others of the batch are stored."""
    rows = [record(id=1, total=1), record(id=2, total=2), record(id=1, total=3)]

    assert produce(opener, rows, [record(id=1, total=4), record(id=3)], on_conflict="ignore", key=key) == [None] * 5
    assert table("SELECT id, total FROM bills ORDER BY id") == [(1, 1), (2, 2), (3, None)]


def test_ignore_with_a_key_ignores_no_other_conflict(opener: Any, table: Sql) -> None:
    """Another row with the same code is another row."""
    rows = [record(id=1, code="a"), record(id=2, code="a")]

    assert [type(each) for each in produce(opener, rows, on_conflict="ignore", key=["id"])] == [
        type(None),
        ProduceError,
    ]
    assert produce(opener, [record(id=2, code="a")], on_conflict="ignore") == [None]


def test_update_brings_the_row_up_to_date(opener: Any, table: Sql) -> None:
    """The last of several in one batch wins, however the key is written; fields it has not stay."""
    rows = [
        record(id=1, total=1),
        record(id=2, total=2),
        record(id=1, total=3),
        record(id="1", total=4),
        record(id=1, note="x"),
    ]

    assert produce(opener, rows, [record(id=2, total="5.50")], **KEYED) == [None] * 6
    assert table("SELECT id, total::text, note FROM bills ORDER BY id") == [(1, "4", "x"), (2, "5.50", "new")]


def test_a_row_of_a_key_alone_is_updated_by_nothing(opener: Any, table: Sql) -> None:
    """There is no column to set."""
    assert produce(opener, [record(id=1)], [record(id=1), record(id=1)], **KEYED) == [None] * 3


def test_a_key_of_several_columns_and_a_partial_index(opener: Any, sql: Sql) -> None:
    """The index's own condition says which rows can conflict."""
    sql("CREATE TABLE shifts (day text, place text, gone boolean DEFAULT false, who text)")
    sql("CREATE UNIQUE INDEX ON shifts (place, day) WHERE NOT gone")
    sql("INSERT INTO shifts VALUES ('mo', 'a', true, 'old')")
    rows = [
        record(day="mo", place="a", who="1"),
        record(day="mo", place="b", who="2"),
        record(day="mo", place="a", who="3"),
    ]

    assert produce(opener, rows, table="shifts", on_conflict="update", key=["day", "place"]) == [None] * 3
    assert sorted(sql("SELECT place, who FROM shifts")) == [("a", "3"), ("a", "old"), ("b", "2")]


def test_keys_that_only_the_database_takes_for_equal(opener: Any, sql: Sql) -> None:
    """A statement that meets a row twice is refused by the server; then each record goes by itself."""
    sql("CREATE TABLE visits (at timestamptz PRIMARY KEY, n integer)")
    rows = [record(at="2024-05-17T12:00:00Z", n=1), record(at="2024-05-17T14:00:00+02:00", n=2)]

    assert produce(opener, rows, table="visits", on_conflict="update", key=["at"]) == [None, None]
    assert sql("SELECT n FROM visits") == [(2,)]


def test_rows_without_a_key_are_all_stored(opener: Any, sql: Sql) -> None:
    """NULL is equal to nothing in a unique index."""
    sql("CREATE TABLE guests (id bigint UNIQUE, name text)")
    rows = [record(id=None, name="a"), record(id=None, name="b"), record(id=1, name="c"), record(id=1, name="d")]

    assert produce(opener, rows, table="guests", on_conflict="update", key=["id"]) == [None] * 4
    assert sorted(name for (name,) in sql("SELECT name FROM guests")) == ["a", "b", "d"]


def test_equal_keys_of_one_transaction(opener: Any, consumed: Any, sql: Sql) -> None:
    """With exactly_once, outputs of one batch and the settlement of their inputs."""
    sql("CREATE TABLE visits (at timestamptz PRIMARY KEY, n integer)")
    rows = [record(at="2024-05-17T12:00:00Z", n=1), record(at="2024-05-17T14:00:00+02:00", n=2)]
    rows += [record(at="2024-05-17T12:00:00Z", n=3)]

    async def main() -> None:
        async with (
            opener.consumer() as consumer,
            opener.producer() as filler,
            opener.table_producer("visits", on_conflict="update", key=["at"]) as producer,
        ):
            await filler.produce([Record(b"in")])
            [message] = await consumed(consumer, 1)
            await consumer.transact([message], [(producer, rows)])

    asyncio.run(main())

    assert sql("SELECT n FROM visits") == [(3,)]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"on_conflict": "update", "key": ["total"]}, "no unique index over total"),
        ({"on_conflict": "ignore", "key": ["id", "code"]}, "no unique index over id, code"),
        ({"on_conflict": "update", "key": ["nowhere"]}, "'nowhere', which no field"),
    ],
)
def test_a_key_without_an_index_is_refused_at_the_start(opener: Any, table: Sql, options: Any, text: str) -> None:
    """Otherwise each batch would fail."""
    with pytest.raises(FatalConnectorError, match=text):
        produce(opener, [], **options)


def test_a_record_without_its_key_is_refused(opener: Any, table: Sql) -> None:
    """It would be another row each time."""
    [answer] = produce(opener, [record(total=1)], **KEYED)

    assert "'id'" in str(answer)


@pytest.mark.parametrize(
    "options",
    [{"on_conflict": "update"}, {"key": ["id"]}, {"on_conflict": "skip"}, {"on_conflict": "ignore", "key": []}],
)
def test_options_that_do_not_fit_are_refused(options: Any) -> None:
    """Before anything connects."""
    with pytest.raises(ValidationError):
        TableOptions(dsn="host=h", **options)
