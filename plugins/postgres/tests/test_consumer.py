"""The consumer beside what the conformance kit proves: order and priority, waking, tokens, what is in the table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from time import monotonic
from typing import Any

import psycopg
import pytest

from penstock.errors import NotConnected
from penstock.message import Record

Sql = Callable[..., list[tuple[Any, ...]]]
Consumed = Callable[..., Any]
SQL = psycopg.sql.SQL


def bodies(messages: list[Any]) -> list[bytes]:
    return [message.message for message in messages]


async def looked(sql: Sql, consumers: int = 1) -> None:
    """Wait until so many consumers have asked for messages, and have their answer."""
    asked = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'penstock' "
        "AND state = 'idle' AND query ~ '^WITH (taken|due)'"
    )
    async with asyncio.timeout(20):
        while sql(asked) < [(consumers,)]:
            await asyncio.sleep(0.01)


def test_the_highest_priority_goes_first_and_then_the_oldest(opener: Any, consumed: Consumed) -> None:
    """In each claim, whatever was produced in between."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            records = [Record(b"a"), Record(b"low", options={"priority": -1}), Record(b"b")]
            await producer.produce([*records, Record(b"high", options={"priority": 9})])
            assert bodies(await consumed(consumer, 4)) == [b"high", b"a", b"b", b"low"]

    asyncio.run(main())


def test_what_is_requeued_comes_before_everything_younger(opener: Any, consumed: Consumed) -> None:
    """Its id is its place, not the time at which it was requeued."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            await producer.produce([Record(b"%d" % number) for number in range(5)])
            first = await consumed(consumer, 2)
            await consumer.on_fail(first[1:])
            assert bodies(await consumed(consumer, 4)) == [b"1", b"2", b"3", b"4"]

    asyncio.run(main())


def test_what_was_delayed_takes_its_place_when_its_time_has_come(opener: Any, consumed: Consumed) -> None:
    """A delay is a permission to be overtaken until then."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            await producer.produce([Record(b"early", delay=0.2), Record(b"next"), Record(b"last")])
            assert bodies(await consumed(consumer, 1)) == [b"next"]
            await asyncio.sleep(0.4)
            assert bodies(await consumed(consumer, 2)) == [b"early", b"last"]

    asyncio.run(main())


@pytest.mark.parametrize("delay", [0.3, 0.6])
def test_a_delay_is_waited_for_exactly(opener: Any, delay: float) -> None:
    """Not until the next poll: the server says how long."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(poll_interval=30, notify=False) as consumer:
            await producer.produce([Record(b"x", delay=delay)])
            began = monotonic()
            assert await consumer.consume(1, 20.0)
            assert delay - 0.1 <= monotonic() - began < delay + 1.0

    asyncio.run(main())


def test_a_notification_ends_the_wait(opener: Any) -> None:
    """A consumer that would poll in half a minute has the message at once."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(poll_interval=30) as consumer:
            waiting = asyncio.create_task(consumer.consume(1, 25.0))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            began = monotonic()
            await producer.produce([Record(b"x")])
            assert await waiting
            assert monotonic() - began < 5

    asyncio.run(main())


def statements(consumer: Any) -> list[str]:
    """What a consumer asks the server from now on, by the session that claims."""
    asked: list[str] = []
    run = consumer._claims.session.run

    async def noting(query: Any, parameters: Any = None) -> Any:
        asked.append(query.as_string().split()[0])
        return await run(query, parameters)

    consumer._claims.session.run = noting
    return asked


@pytest.mark.parametrize("notify", [True, False])
def test_an_empty_queue_is_asked_no_more_often_for_short_calls(opener: Any, notify: bool) -> None:
    """An engine calls twice a second and more; `poll_interval` counts from one look to the next."""

    async def main() -> None:
        options = {"notify": notify, "poll_interval": 0.5}
        async with opener.producer(**options) as producer, opener.consumer(**options) as consumer:
            asked = statements(consumer)
            began = monotonic()
            while monotonic() < began + 1.2:
                assert await consumer.consume(1, 0.05) == []
            assert len(asked) <= 2 * 4  # a claim, and what is due; at 0, 0.5 and 1 s, and a slow machine's one more
            await producer.produce([Record(b"x")])
            assert await consumer.consume(1, 20.0)

    asyncio.run(main())


def test_what_one_requeues_itself_is_not_waited_for(opener: Any, consumed: Consumed) -> None:
    """Without notifications as well, at once and after a delay."""

    async def main() -> None:
        options = {"notify": False, "poll_interval": 30}
        async with opener.producer(**options) as producer, opener.consumer(**options) as consumer:
            await producer.produce([Record(b"x")])
            for delay in (None, 0.3):
                messages = await consumed(consumer, 1)
                assert await consumer.consume(1, 0.05) == []
                await consumer.on_fail(messages, delay)
                assert await consumer.consume(1, 10.0)
                await consumer.on_fail(messages)  # too late, and harmless
                await consumer.on_fail(list(consumer._leases))

    asyncio.run(main())


@pytest.mark.parametrize("delay", [1e13, float("inf"), float("nan"), -1.0])
def test_no_delay_is_too_long_or_too_strange(opener: Any, consumed: Consumed, sql: Sql, delay: float) -> None:
    """PostgreSQL's times end somewhere; longer than a working life is for ever."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            await producer.produce([Record(b"x")])
            await consumer.on_fail(await consumed(consumer, 1), delay)
            held = "visible_at > now() + interval '30 years'" if delay > 0 else "visible_at IS NULL"
            assert sql(f"SELECT lease IS NULL AND {held} FROM penstock_messages") == [(True,)]

    asyncio.run(main())


def test_a_delay_that_begins_while_others_wait_is_waited_for_exactly(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """A consumer that waits gets it, whether it was produced with it or requeued with it."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(poll_interval=30) as consumer:
            waiting = asyncio.create_task(consumer.consume(1, 25.0))
            await looked(sql)
            began = monotonic()
            await producer.produce([Record(b"x", delay=0.5)])
            async with opener.consumer(poll_interval=30) as other:
                await consumer.on_fail(await waiting, 0.5)
                assert await other.consume(1, 25.0)
            assert 0.9 < monotonic() - began < 5

    asyncio.run(main())


def test_a_message_that_is_requeued_wakes_others(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Also when its consumer gives it back because it stops."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(poll_interval=30) as other:
            async with opener.consumer() as consumer:
                await producer.produce([Record(b"x")])
                await consumed(consumer, 1)
                waiting = asyncio.create_task(other.consume(1, 25.0))
                await looked(sql, 2)
                assert not waiting.done()
            began = monotonic()
            assert [message.attempts for message in await waiting] == [2]
            assert monotonic() - began < 5

    asyncio.run(main())


def test_without_notifications_it_polls(opener: Any, sql: Sql) -> None:
    """`notify: false` on both sides: the queue is looked at every poll_interval."""

    async def main() -> None:
        options = {"notify": False, "poll_interval": 0.05}
        async with opener.producer(**options) as producer, opener.consumer(**options) as consumer:
            waiting = asyncio.create_task(consumer.consume(1, 20.0))
            await looked(sql)
            await producer.produce([Record(b"x")])
            assert await waiting

    asyncio.run(main())


def test_a_late_delete_leaves_the_new_owners_message_alone(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """The row has another token by then."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(lease=0.2) as slow, opener.consumer() as fast:
            await producer.produce([Record(b"x")])
            late = await consumed(slow, 1)
            taken = await consumed(fast, 1)
            assert await slow.on_success(late) == 1
            assert sql("SELECT count(*) FROM penstock_messages") == [(1,)]
            assert await fast.on_success(taken) == 0
            assert sql("SELECT count(*) FROM penstock_messages") == [(0,)]

    asyncio.run(main())


def test_a_late_consumer_still_settles_what_no_other_took(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """If no other consumer took the message after its lease ended, it is settled, not delivered again."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(lease=0.2) as consumer:
            await producer.produce([Record(b"x")])
            messages = await consumed(consumer, 1)
            await asyncio.sleep(0.4)
            # It takes nothing, but looks, and so makes it visible again.
            await consumer._claims._wake()
            assert sql("SELECT visible_at IS NULL FROM penstock_messages") == [(True,)]
            assert await consumer.on_success(messages) == 0
            assert sql("SELECT count(*) FROM penstock_messages") == [(0,)]

    asyncio.run(main())


def test_a_lost_lease_is_counted_and_told(opener: Any, consumed: Consumed, caplog: pytest.LogCaptureFixture) -> None:
    """Once others have the message, an extension cannot bring it back."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(lease=0.2) as slow, opener.consumer() as fast:
            await producer.produce([Record(b"x")])
            late = await consumed(slow, 1)
            await consumed(fast, 1)
            await slow.extend(late)
            assert slow.lost_leases == 1

    asyncio.run(main())
    assert "1 leases ended before they were extended" in caplog.text


def test_of_two_deliveries_of_a_message_only_the_newer_is_extended(opener: Any, consumed: Consumed) -> None:
    """One consumer may hold both, when the lease of the first one ended."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer(lease=0.3) as consumer:
            await producer.produce([Record(b"x")])
            older = await consumed(consumer, 1)
            newer = await consumed(consumer, 1)
            await consumer.extend([*older, *newer])
            assert consumer.lost_leases == 1
            assert await consumer.on_success([*older, *newer]) == 1

    asyncio.run(main())


def test_a_claim_takes_no_more_than_it_can_hold(opener: Any, consumed: Consumed, monkeypatch: Any) -> None:
    """What is visible is weighed before it is taken: large messages may follow on small ones. At least one comes."""
    monkeypatch.setattr("penstock_postgres.claims.MAX_BYTES", 10_000)

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            await producer.produce([Record(b"x") for _ in range(100)])
            assert len(await consumed(consumer, 100)) == 100
            await producer.produce([Record(bytes(1_000)) for _ in range(50)])
            await producer.produce([Record(bytes(30_000)), Record(None), Record(b"x")])
            claims = [len(await consumer.consume(150, 1.0)) for _ in range(6)]
            assert claims[:5] == [10] * 5
            assert claims[5] == 1
            assert len(await consumed(consumer, 2)) == 2

    asyncio.run(main())


def test_of_a_table_a_claim_goes_by_the_weight_of_the_last_one(
    opener: Any, consumed: Consumed, monkeypatch: Any, sql: Sql
) -> None:
    """A row's weight as JSON is not known before it is one."""
    monkeypatch.setattr("penstock_postgres.claims.MAX_BYTES", 10_000)
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY, text text)")
    sql("INSERT INTO jobs SELECT n, repeat('x', 970) FROM generate_series(1, 150) AS n")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as consumer:
            assert len(await consumer.consume(150, 1.0)) == 100  # the first one knows nothing yet
            assert len(await consumer.consume(150, 1.0)) == 10
            assert len(await consumed(consumer, 40)) == 40

    asyncio.run(main())


def test_many_consumers_share_without_waiting_for_each_other(opener: Any, consumed: Consumed) -> None:
    """No consumer gets what another one has."""

    async def main() -> None:
        async with opener.producer() as producer:
            await producer.produce([Record(b"%d" % number) for number in range(400)])
            async with opener.consumer() as a, opener.consumer() as b, opener.consumer() as c, opener.consumer() as d:
                taken = await asyncio.gather(*(consumed(each, 100, at_once=7) for each in (a, b, c, d)))
                assert {body for each in taken for body in bodies(each)} == {b"%d" % number for number in range(400)}

    asyncio.run(main())


def test_no_row_is_locked_while_a_message_is_worked_on(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """A lease is written, not held: no transaction stays open, vacuum and others go on."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            await producer.produce([Record(b"x")])
            await consumed(consumer, 1)
            states = sql(
                "SELECT state, backend_xmin FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'penstock'"
            )
            assert states == [("idle", None)] * 3
            assert len(sql("SELECT * FROM penstock_messages FOR UPDATE NOWAIT")) == 1

    asyncio.run(main())


def test_a_claim_goes_by_the_indexes_whatever_the_statistics_say(opener: Any, sql: Sql) -> None:
    """Taken when the table was empty, a sort of all that waits looks cheap; taken when it was full, a merge with all
    that others have does, for a generic plan takes the limit for a tenth of the table."""

    async def plan(consumer: Any) -> str:
        await consumer.consume(1, 0)
        run = consumer._claims.session.run
        [[name]] = await run(SQL("SELECT name FROM pg_prepared_statements WHERE statement LIKE 'WITH taken%'"))
        lines = await run(
            SQL("EXPLAIN EXECUTE {} ('orders', 10, 1000, 1.0, NULL, '')").format(psycopg.sql.Identifier(name))
        )
        return "\n".join(line for (line,) in lines)

    async def main() -> None:
        async with opener.producer():
            sql("ANALYZE penstock_messages")
            fill = "INSERT INTO penstock_messages (queue, body) SELECT %s, 'x' FROM generate_series(1, 20000)"
            for queue in ("earlier", "orders"):
                sql(fill, queue)
            for statistics in ("of an empty table", "of a full one"):
                async with opener.consumer(notify=False) as consumer:
                    text = await plan(consumer)
                assert "Index Scan using penstock_messages_ready" in text, statistics
                assert "Index Scan using penstock_messages_pkey" in text, statistics
                assert "Nested Loop" in text, statistics
                assert not re.search("Bitmap|Seq Scan|Merge|Hash|JIT", text), f"{statistics}: {text}"
                sql("ANALYZE penstock_messages")

    asyncio.run(main())


def test_lag_counts_what_waits(opener: Any, consumed: Consumed) -> None:
    """Visible or delayed; not what is in flight, nor other queues."""

    async def main() -> None:
        async with opener.producer() as producer, opener.producer("other") as other, opener.consumer() as consumer:
            await other.produce([Record(b"x")])
            await producer.produce([Record(b"a"), Record(b"b"), Record(b"c", delay=60)])
            assert await consumer.lag() == 3
            messages = await consumed(consumer, 2)
            assert await consumer.lag() == 1
            await consumer.on_fail(messages, 60.0)
            assert await consumer.lag() == 3

    asyncio.run(main())


def test_the_owner_of_a_message_stands_in_the_table(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """For an operator who looks for the reason why something is stuck."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            await producer.produce([Record(b"x")])
            messages = await consumed(consumer, 1)
            [[owner, left]] = sql("SELECT leased_by, visible_at > now() FROM penstock_messages")
            assert ":" in owner
            assert left
            await consumer.on_fail(messages)
            assert sql("SELECT leased_by, lease, visible_at FROM penstock_messages") == [(None, None, None)]

    asyncio.run(main())


def test_after_a_loss_it_is_woken_as_before(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """LISTEN belongs to a session; what was delivered on the old one is settled on the new one."""

    async def main() -> None:
        async with opener.producer(notify=False) as producer, opener.consumer(poll_interval=30) as consumer:
            await producer.produce([Record(b"x")])
            messages = await consumed(consumer, 1)
            sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'penstock' AND datname = current_database()"
            )
            with pytest.raises(NotConnected):
                await consumer.consume(1, 1.0)
            await consumer.connect()
            assert await consumer.on_success(messages) == 0
            waiting = asyncio.create_task(consumer.consume(1, 25.0))
            await looked(sql)
            async with opener.producer() as other:
                await other.produce([Record(b"y")])
            assert bodies(await asyncio.wait_for(waiting, 5)) == [b"y"]

    asyncio.run(main())


def test_a_server_that_has_become_a_standby_is_left(opener: Any, consumed: Consumed) -> None:
    """It still answers, but only to readers: a new session finds the primary, where the DSN names several servers."""

    async def main() -> None:
        async with opener.producer() as producer, opener.consumer() as consumer:
            await producer.produce([Record(b"x")])
            await consumer._claims.session.run(SQL("SET default_transaction_read_only = on"))
            with pytest.raises(NotConnected, match="read-only"):
                await consumer.consume(1, 1.0)
            await consumer.connect()
            assert await consumed(consumer, 1)

    asyncio.run(main())


def test_damaged_headers_of_another_program_lose_no_message(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """The body is what counts."""

    async def main() -> None:
        async with opener.consumer() as consumer:
            sql("""INSERT INTO penstock_messages (queue, body, headers) VALUES ('orders', 'x', '{"a": 1}')""")
            [message] = await consumed(consumer, 1)
            assert (message.message, message.headers) == (b"x", ())

    asyncio.run(main())
