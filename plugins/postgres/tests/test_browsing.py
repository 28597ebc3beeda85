"""What browsing in PostgreSQL shows beyond what the conformance kit asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.connectors import Backlog, Consumer
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage, Record
from penstock_postgres.consumer import PostgresConsumer


async def everything(consumer: Consumer, limit: int) -> list[BrowsedMessage]:
    seen: list[BrowsedMessage] = []
    after = None
    while page := await consumer.browse(limit, after):
        seen += page
        after = page[-1].position
    return seen


def test_a_message_is_shown_with_all_that_belongs_to_it(opener: Any) -> None:
    """Key, headers, time of sending, attempts and state; in order of id, whatever the priorities are."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            records = [Record(b"leased", b"k", [("h", b"\xff"), ("n", None)]), Record(b"requeued"), Record(None)]
            records += [Record(b"later", delay=60.0), Record(b"urgent", options={"priority": 9})]
            assert not any(await producer.produce(records[:2]))
            leased, requeued = await consumer.consume(2, 5.0)
            await consumer.on_fail([requeued], 60.0)
            assert not any(await producer.produce(records[2:]))

            seen = await everything(consumer, 2)

            assert [(each.message, each.state, each.attempts) for each in seen] == [
                (b"leased", "leased", 1),
                (b"requeued", "delayed", 1),
                (None, "waiting", 0),
                (b"later", "delayed", 0),
                (b"urgent", "waiting", 0),
            ]
            assert (seen[0].key, list(seen[0].headers)) == (b"k", [("h", b"\xff"), ("n", None)])
            assert (seen[0].position, seen[0].timestamp) == (leased.position, leased.timestamp)
            assert await consumer.backlog() == Backlog(2, 1, 2, seen[2].timestamp)

    asyncio.run(main())


def test_a_page_of_large_bodies_is_shorter(opener: Any) -> None:
    """About 8 MB; the rest comes with the next pages."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            assert not any(await producer.produce([Record(bytes([number]) * 3_000_000) for number in range(5)]))
            assert len(await consumer.browse(10)) == 3
            assert len(await everything(consumer, 10)) == 5

    asyncio.run(main())


def test_rows_of_any_key_are_browsed_in_its_order(opener: Any, sql: Callable[..., Any]) -> None:
    """By an id that is text; with the states that such rows can have."""
    sql("CREATE TABLE jobs (id text PRIMARY KEY, n integer, open boolean DEFAULT true)")
    sql("INSERT INTO jobs SELECT chr(97 + i), i FROM generate_series(0, 5) AS i")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True, visible="open") as consumer:
            await consumer.consume(1, 5.0)
            sql("UPDATE jobs SET open = false WHERE id = 'f'")

            seen = await everything(consumer, 2)

            assert [(each.position, json.loads(each.message or b"")["n"]) for each in seen] == [
                (letter, number) for number, letter in enumerate("abcdef")
            ]
            assert [each.state for each in seen] == ["leased", "waiting", "waiting", "waiting", "waiting", "unknown"]
            assert [each.attempts for each in seen] == [1, 0, 0, 0, 0, 0]
            assert await consumer.backlog() == Backlog(waiting=4, in_flight=1, delayed=0)  # rows have no time

    asyncio.run(main())


@pytest.mark.parametrize("form", ["messages", "rows"])
def test_browsing_creates_nothing(opener: Any, sql: Callable[..., Any], form: str) -> None:
    """Although `create` is on: neither a table nor the columns of a consumer."""
    sql("CREATE TABLE jobs (id integer PRIMARY KEY)")
    options = opener.options() if form == "messages" else opener.table_options(create=True)
    consumer = PostgresConsumer("jobs", options)

    async def main() -> None:
        with pytest.raises(ConnectorError, match="there is no table" if form == "messages" else "has no column"):
            await consumer.browse(1)
        await consumer.shutdown()

    asyncio.run(main())

    found = sql("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()")
    assert found == [("jobs", "id")]


@pytest.mark.parametrize("form", ["messages", "rows"])
def test_what_is_not_a_position_is_refused(opener: Any, sql: Callable[..., Any], form: str) -> None:
    """With a word about what a position is, and the session goes on."""
    sql("CREATE TABLE jobs (id integer PRIMARY KEY)")
    opened = opener.consumer("jobs") if form == "messages" else opener.table_consumer("jobs", create=True)

    async def main() -> None:
        async with opened as consumer:
            with pytest.raises(ConnectorError, match=r"'0/42' is not a position of (queue|table)"):
                await consumer.browse(1, "0/42")
            assert await consumer.browse(1, "42") == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "value"), [("text", "chr(97 + i)"), ("integer", "i"), ("uuid", "md5(i::text)::uuid")], ids=str
)
def test_chosen_rows_are_claimed_by_any_key(opener: Any, sql: Callable[..., Any], kind: str, value: str) -> None:
    """And no other row changes; a row that a consumer has, or that is gone, is left out."""
    sql(f"CREATE TABLE jobs (id {kind} PRIMARY KEY, n integer)")
    sql(f"INSERT INTO jobs SELECT {value}, i FROM generate_series(0, 5) AS i")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as worker, opener.table_consumer("jobs") as tool:
            [held] = await worker.consume(1, 5.0)
            seen = await everything(tool, 10)
            wanted = [seen[4].position, seen[2].position, held.position]
            claimed = await tool.claim(wanted)
            assert {each.position for each in claimed} == set(wanted[:2])
            assert [each.attempts for each in claimed] == [1, 1]
            assert not await tool.on_success(claimed)
            assert not await tool.claim(wanted)
            rest = await everything(tool, 10)
            assert [(each.position, each.state, each.attempts) for each in rest] == [
                (each.position, each.state, each.attempts) for each in seen if each.position not in wanted[:2]
            ]

    asyncio.run(main())
