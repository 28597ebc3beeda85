"""Outputs stored and inputs settled together: once, or not at all, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
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


@asynccontextmanager
async def held_up(dsn: str, schema: str, body: bytes) -> AsyncIterator[None]:
    """Another program has a lock on one message, for which its settlement waits."""
    async with await psycopg.AsyncConnection.connect(dsn) as other:
        await other.execute(f"SELECT FROM {schema}.penstock_messages WHERE body = %s FOR UPDATE", (body,))
        yield


async def waits(sql: Sql) -> None:
    """Until a settlement waits for that lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE%%' "
        "AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while sql(query) == [(0,)]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("exactly_once", [True, False])
def test_an_extension_waits_for_no_settlement(
    opener: Any, consumed: Consumed, sql: Sql, dsn: str, schema: str, exactly_once: bool
) -> None:
    """Neither for one that runs, though it holds one of the rows, nor for those that wait behind it."""

    async def main() -> None:
        async with stage(opener, 30) as (consumer, out):
            messages = await consumed(consumer, 30)

            async def settle(message: Any) -> None:
                if exactly_once:
                    assert (await consumer.transact([message], [(out, [Record(b"x")])])).committed
                else:
                    assert await consumer.on_success([message]) == 0

            async with held_up(dsn, schema, b"0"):
                settling = [asyncio.create_task(settle(message)) for message in messages[:20]]
                await waits(sql)
                sql("UPDATE penstock_messages SET visible_at = now() WHERE queue = 'orders' AND body <> '0'")
                await asyncio.wait_for(consumer.extend(messages), 10)
                assert not any(task.done() for task in settling)
                left = "SELECT count(*) FROM penstock_messages WHERE queue = 'orders' AND visible_at > now()"
                assert sql(left) == [(30,)]
            await asyncio.gather(*settling)
            assert consumer.lost_leases == 0
            assert sql(COUNTS) == [(10, 20 if exactly_once else 0)]

    asyncio.run(main())


def test_what_is_settled_during_an_extension_is_not_lost(opener: Any, consumed: Consumed) -> None:
    """The row is gone because of us."""

    async def main() -> None:
        async with stage(opener, 2) as (consumer, _out):
            messages = await consumed(consumer, 2)
            await consumer.extend(messages)
            run = consumer._extending.run

            async def late(query: Any, parameters: Any = None) -> Any:
                assert await consumer.on_success(messages[:1]) == 0
                return await run(query, parameters)

            consumer._extending.run = late
            await consumer.extend(messages)
            assert consumer.lost_leases == 0
            assert await consumer.on_success(messages[1:]) == 0

    asyncio.run(main())


def test_calls_that_wait_are_made_in_one_transaction(
    opener: Any, consumed: Consumed, sql: Sql, dsn: str, schema: str
) -> None:
    """So a slow server costs latency, and not throughput. Records keep the order of the calls."""

    async def main() -> None:
        async with stage(opener, 41) as (consumer, out):
            messages = await consumed(consumer, 41)
            async with held_up(dsn, schema, b"0"):
                calls = []
                for message in messages:
                    call = consumer.transact([message], [(out, [Record(message.message)])])
                    calls.append(asyncio.create_task(call))
                    if len(calls) == 1:
                        await waits(sql)
                await asyncio.sleep(0)
            assert all(done.committed for done in await asyncio.gather(*calls))
        stored = sql("SELECT body, xmin::text FROM penstock_messages WHERE queue = 'out' ORDER BY id")
        assert [body for body, _ in stored] == [b"%d" % number for number in range(41)]
        assert len({transaction for _, transaction in stored}) == 2

    asyncio.run(main())


def test_each_of_the_joined_calls_has_its_own_answer(
    opener: Any, consumed: Consumed, sql: Sql, dsn: str, schema: str
) -> None:
    """One lost an input, one has a refused record, one an unknown option, one a cancelled caller: none of them
    costs another one anything."""

    async def main() -> None:
        async with stage(opener, 40) as (consumer, out):
            sql("ALTER TABLE penstock_messages ADD CHECK (body <> 'bad')")
            messages = await consumed(consumer, 40)

            def transact(number: int) -> Any:
                record = {10: Record(b"bad"), 11: Record(b"x", options={"z": 1})}.get(number, Record(b"x"))
                pair = messages[2 * number : 2 * number + 2]
                return consumer.transact(pair, [(out, [Record(b"x"), record])])

            async with held_up(dsn, schema, b"0"):
                calls = [asyncio.create_task(transact(0))]
                await waits(sql)
                calls += [asyncio.create_task(transact(number)) for number in range(1, 20)]
                await asyncio.sleep(0)
                sql("UPDATE penstock_messages SET lease = gen_random_uuid() WHERE body IN ('14', '16', '17')")
                calls[5].cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(answers[5], asyncio.CancelledError)
            assert [message.position for message in answers[7].lost] == [messages[14].position]
            assert list(answers[8].lost) == messages[16:18]
            for number in (10, 11):
                assert [(each.output, each.record) for each in answers[number].refused] == [(0, 1)]
            good = [number for number in range(20) if number not in (5, 7, 8, 10, 11)]
            assert all(answers[number].committed for number in good)
            assert sql(COUNTS) == [(40 - 2 * len(good), 2 * len(good))]

    asyncio.run(main())


def test_joined_settlements_say_each_how_many_were_late(
    opener: Any, consumed: Consumed, sql: Sql, dsn: str, schema: str
) -> None:
    """Without outputs it is one deletion of them all."""

    async def main() -> None:
        async with stage(opener, 10) as (consumer, _out):
            messages = await consumed(consumer, 10)
            async with held_up(dsn, schema, b"0"):
                calls = [
                    asyncio.create_task(consumer.on_success(messages[start : start + 2])) for start in range(0, 10, 2)
                ]
                await waits(sql)
                sql("UPDATE penstock_messages SET lease = gen_random_uuid() WHERE body IN ('4', '5', '9')")
            assert await asyncio.gather(*calls) == [0, 0, 2, 0, 1]
            assert sql(COUNTS) == [(3, 0)]

    asyncio.run(main())


def test_a_row_is_stored_after_the_one_that_it_refers_to_in_joined_calls_as_well(
    opener: Any, consumed: Consumed, sql: Sql, dsn: str, schema: str
) -> None:
    """The order of the queues in one call holds for all of them, whichever comes first."""
    sql("CREATE TABLE parents (id bigint PRIMARY KEY)")
    sql("CREATE TABLE children (id bigint PRIMARY KEY, parent bigint REFERENCES parents)")
    sql("INSERT INTO parents VALUES (0)")

    async def main() -> None:
        async with (
            stage(opener, 10) as (consumer, _out),
            opener.table_producer("children") as children,
            opener.table_producer("parents") as parents,
        ):
            messages = await consumed(consumer, 10)

            def transact(number: int) -> Any:
                elders = rows({"id": number})
                offspring = rows({"id": number, "parent": number if number % 2 else 0})
                columns = [(parents, elders), (children, offspring)] if number % 2 else [(children, offspring)]
                return consumer.transact(messages[number : number + 1], columns)

            async with held_up(dsn, schema, b"0"):
                calls = [asyncio.create_task(transact(0))]
                await waits(sql)
                calls += [asyncio.create_task(transact(number)) for number in range(1, 10)]
                await asyncio.sleep(0)
            assert all(done.committed for done in await asyncio.gather(*calls))

    asyncio.run(main())
    assert sql("SELECT count(*), count(DISTINCT xmin::text) FROM children") == [(10, 2)]


def test_another_database_is_told_before_anything_is_connected(opener: Any) -> None:
    """By the DSN; other kinds of queues as well."""
    consumer = PostgresConsumer("a", opener.options(dsn="postgresql://me@db/shop"))

    def problem(dsn: str) -> str | None:
        return consumer.transaction_problem(PostgresProducer("b", opener.options(dsn=dsn)))

    assert problem("postgresql://me:secret@db:5432/shop") is None
    assert problem("host=db user=me dbname=shop") is None
    for other in ("postgresql://me@db2/shop", "postgresql://me@db/other", "postgresql://you@db/shop"):
        assert problem(other) == "its `dsn` leads to another server, database or user"


def test_after_a_loss_more_and_more_calls_are_joined_again(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Also of one input and one output each: else each would wait for a commit of its own from then on."""

    async def main() -> None:
        async with stage(opener, 200) as (consumer, out):
            messages = await consumed(consumer, 200)

            async def one(message: Any) -> None:
                assert (await consumer.transact([message], [(out, [Record(b"x")])])).committed

            async with consumer._settling.lock:
                call = asyncio.create_task(one(messages[0]))
                sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'penstock' AND datname = current_database()"
                )
            with pytest.raises(NotConnected):
                await call
            await asyncio.gather(consumer.connect(), out.connect())
            fewer = consumer._row_limit.value
            await asyncio.gather(*(one(message) for message in messages))
            assert fewer < 10
            assert consumer._row_limit.value > 100

    asyncio.run(main())
    assert sql(COUNTS) == [(0, 200)]
