"""Outputs stored and inputs settled together: once, or not at all, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock.errors import NotConnected
from penstock.message import Record
from penstock_postgres.consumer import PostgresConsumer
from penstock_postgres.producer import PostgresProducer

Sql = Callable[..., list[tuple[Any, ...]]]
Consumed = Callable[..., Any]

COUNTS = (
    "SELECT count(*) FILTER (WHERE queue = 'orders'), count(*) FILTER (WHERE queue <> 'orders') FROM penstock_messages"
)


@asynccontextmanager
async def stage(opener: Any, count: int, **options: Any) -> AsyncIterator[tuple[PostgresConsumer, PostgresProducer]]:
    """A consumer of a queue with so many messages, and an output."""
    async with opener.producer() as source, opener.consumer(**options) as consumer, opener.producer("out") as out:
        await source.produce([Record(b"%d" % number) for number in range(count)])
        yield consumer, out


def test_outputs_show_with_the_settlement_of_their_inputs(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Two queues, one commit; the consumers of the outputs are woken."""

    async def main() -> None:
        async with (
            stage(opener, 3) as (consumer, out),
            opener.producer("log") as log,
            opener.consumer("out", poll_interval=30) as reader,
        ):
            waiting = asyncio.create_task(reader.consume(1, 25.0))
            messages = await consumed(consumer, 3)
            outputs = [(out, [Record(b"a"), Record(b"b")]), (log, [Record(b"c")])]
            done = await consumer.transact(messages, outputs)
            assert done.committed
            assert sql(COUNTS) == [(0, 3)]
            assert await asyncio.wait_for(waiting, 5)

    asyncio.run(main())


def test_an_input_that_was_lost_takes_its_neighbours_outputs_along(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Nothing is stored and nothing settled; the one that is lost is named, and the rest can be tried again."""

    async def main() -> None:
        async with stage(opener, 3, lease=0.2) as (slow, out), opener.consumer() as fast:
            messages = await consumed(slow, 3)
            [taken] = await consumed(fast, 1)
            done = await slow.transact(messages, [(out, [Record(b"x")])])
            assert [message.message_context for message in done.lost] == [taken.message_context]
            assert not done.committed
            assert sql(COUNTS) == [(3, 0)]
            rest = [message for message in messages if message not in done.lost]
            assert (await slow.transact(rest, [(out, [Record(b"x")])])).committed
            assert sql(COUNTS) == [(1, 1)]

    asyncio.run(main())


def test_a_delivery_that_is_given_twice_is_settled_once(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Two deliveries of one row are two, and so is one delivery that is named twice: a deletion answers for one."""

    async def main() -> None:
        async with stage(opener, 1, lease=0.2) as (consumer, out):
            older = await consumed(consumer, 1)
            newer = await consumed(consumer, 1)
            for messages, lost in (([*older, *newer], older), ([*newer, *older], older), ([*newer, *newer], newer)):
                done = await consumer.transact(messages, [(out, [Record(b"x"), Record(b"y")])])
                assert list(done.lost) == lost
                assert sql(COUNTS) == [(1, 0)]
            assert (await consumer.transact(newer, [(out, [Record(b"y")])])).committed
            assert sql(COUNTS) == [(0, 1)]

    asyncio.run(main())


@pytest.mark.parametrize("deferred", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_refused_record_is_named_and_nothing_is_done(
    opener: Any, consumed: Consumed, sql: Sql, deferred: str
) -> None:
    """Also one that PostgreSQL would refuse only at the commit."""

    async def main() -> None:
        async with stage(opener, 2) as (consumer, out), opener.producer("log") as log:
            if deferred:
                sql("CREATE TABLE allowed (body bytea PRIMARY KEY)")
                sql("INSERT INTO allowed VALUES ('good'), ('0'), ('1')")
                sql(f"ALTER TABLE penstock_messages ADD FOREIGN KEY (body) REFERENCES allowed {deferred}")
            else:
                sql("ALTER TABLE penstock_messages ADD CHECK (body <> 'bad')")
            messages = await consumed(consumer, 2)
            outputs = [(out, [Record(b"good")] * 3), (log, [Record(b"good"), Record(b"bad"), Record(b"good")])]
            done = await consumer.transact(messages, outputs)
            assert [(refusal.output, refusal.record) for refusal in done.refused] == [(1, 1)]
            assert not done.refused[0].error.retriable
            assert sql(COUNTS) == [(2, 0)]
            outputs = [(out, [Record(b"good")] * 3), (log, [Record(b"good")] * 2)]
            assert (await consumer.transact(messages, outputs)).committed
            assert sql(COUNTS) == [(0, 5)]

    asyncio.run(main())


def rows(*objects: dict[str, Any]) -> list[Record]:
    return [Record(json.dumps(each).encode()) for each in objects]


def test_a_row_that_takes_the_place_of_its_input_is_not_blamed_for_another(
    opener: Any, consumed: Consumed, sql: Sql
) -> None:
    """A table whose rows go from one state to the next is its own output: the inputs are gone when records are
    judged."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY, state text NOT NULL CHECK (state <> 'bad'))")
    sql("INSERT INTO jobs SELECT n, 'new' FROM generate_series(1, 10) AS n")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as consumer, opener.table_producer("jobs") as out:
            messages = await consumed(consumer, 10)
            states = [{"id": number, "state": "bad" if number == 7 else "done"} for number in range(1, 11)]
            done = await consumer.transact(messages, [(out, rows(*states))])
            assert [(each.output, each.record) for each in done.refused] == [(0, 6)]
            del messages[6], states[6]
            assert (await consumer.transact(messages, [(out, rows(*states))])).committed

    asyncio.run(main())
    assert sql("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state") == [("done", 9), ("new", 1)]


def test_a_row_that_refers_to_a_later_one_is_not_blamed_for_another(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Children before their parents, which a deferred constraint allows: only the orphan is refused."""
    sql("CREATE TABLE parents (id bigint PRIMARY KEY)")
    sql("CREATE TABLE children (id bigint PRIMARY KEY, parent bigint REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")

    async def main() -> None:
        async with (
            stage(opener, 2) as (consumer, _out),
            opener.table_producer("children") as children,
            opener.table_producer("parents") as parents,
        ):
            messages = await consumed(consumer, 2)
            offspring = [{"id": number, "parent": 400 if number == 3 else number} for number in range(1, 9)]
            elders = rows(*({"id": number} for number in range(1, 9)))
            done = await consumer.transact(messages, [(children, rows(*offspring)), (parents, elders)])
            assert [(each.output, each.record) for each in done.refused] == [(0, 2)]
            del offspring[2]
            assert (await consumer.transact(messages, [(children, rows(*offspring)), (parents, elders)])).committed

    asyncio.run(main())
    assert sql("SELECT count(*) FROM children") == [(7,)]


@pytest.mark.parametrize("deferred", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_an_input_that_cannot_be_deleted_is_left_out(
    opener: Any, consumed: Consumed, sql: Sql, deferred: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Something refers to its row: it is named, nothing is stored of it, and the others go on."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY)")
    sql("INSERT INTO jobs SELECT generate_series(1, 5)")
    sql(f"CREATE TABLE notes (job bigint REFERENCES jobs {deferred})")
    sql("INSERT INTO notes VALUES (3)")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as consumer, opener.producer("out") as out:
            messages = await consumed(consumer, 5)
            done = await consumer.transact(messages[:4], [(out, [Record(b"x")])])
            assert [message.position for message in done.lost] == ["3"]
            assert sql("SELECT count(*) FROM jobs") == [(5,)]
            assert await consumer.on_success(messages) == 1

    asyncio.run(main())
    assert sql("SELECT id FROM jobs") == [(3,)]
    assert "row 3 of table" in caplog.text
    assert "cannot be deleted" in caplog.text


def test_an_option_that_is_unknown_is_refused_before_anything_is_asked(
    opener: Any, consumed: Consumed, sql: Sql
) -> None:
    """With the place of its record."""

    async def main() -> None:
        async with stage(opener, 1) as (consumer, out):
            messages = await consumed(consumer, 1)
            done = await consumer.transact(messages, [(out, [Record(b"x"), Record(b"y", options={"z": 1})])])
            assert [(refusal.output, refusal.record) for refusal in done.refused] == [(0, 1)]
            assert sql(COUNTS) == [(1, 0)]

    asyncio.run(main())


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    opener: Any, consumed: Consumed, sql: Sql, dsn: str, proxy: Any
) -> None:
    """Tried again, its inputs are gone, and so its outputs are not stored a second time."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(dsn)
    wire = proxy(parts.hostname, parts.port)
    through = urlunsplit(parts._replace(netloc=f"postgres@{wire.host}:{wire.port}"))

    async def main() -> None:
        async with (
            stage(opener, 2, dsn=through, timeout=1.0) as (consumer, _out),
            opener.producer("out", dsn=through) as out,
        ):
            messages = await consumed(consumer, 2)
            run = consumer._settling.run

            async def deaf(query: Any, parameters: Any = None) -> Any:
                rows = await run(query, parameters)
                if query.as_string() == "SET CONSTRAINTS ALL IMMEDIATE":
                    await asyncio.to_thread(wire.swallow_replies)  # the commit still arrives
                return rows

            consumer._settling.run = deaf
            with pytest.raises(NotConnected):
                await consumer.transact(messages, [(out, [Record(b"a"), Record(b"b")])])
            consumer._settling.run = run
            await asyncio.to_thread(wire.heal)
            assert sql(COUNTS) == [(0, 2)]
            await consumer.connect()
            done = await consumer.transact(messages, [(out, [Record(b"a"), Record(b"b")])])
            assert len(done.lost) == 2
            assert sql(COUNTS) == [(0, 2)]

    asyncio.run(main())


def test_extensions_and_other_settlements_may_be_under_way_meanwhile(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """They wait for each other on the one session, and none of them is lost."""

    async def main() -> None:
        async with stage(opener, 90) as (consumer, out):
            messages = await consumed(consumer, 90)
            results = await asyncio.gather(
                *(
                    consumer.transact(messages[start : start + 10], [(out, [Record(b"x")])])
                    for start in range(0, 60, 10)
                ),
                consumer.extend(messages),
                consumer.on_success(messages[60:80]),
                consumer.on_fail(messages[80:]),
            )
            assert all(done.committed for done in results[:6])
            assert sql(COUNTS) == [(10, 6)]
            assert consumer.lost_leases == 0

    asyncio.run(main())


def test_another_database_is_told_before_anything_is_connected(opener: Any) -> None:
    """By the DSN; other kinds of queues as well."""
    consumer = PostgresConsumer("a", opener.options(dsn="postgresql://me@db/shop"))

    def problem(dsn: str) -> str | None:
        return consumer.transaction_problem(PostgresProducer("b", opener.options(dsn=dsn)))

    assert problem("postgresql://me:secret@db:5432/shop") is None
    assert problem("host=db user=me dbname=shop") is None
    for other in ("postgresql://me@db2/shop", "postgresql://me@db/other", "postgresql://you@db/shop"):
        assert problem(other) == "its `dsn` leads to another server, database or user"
