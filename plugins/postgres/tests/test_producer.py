"""The producer beside what the conformance kit proves: what is refused, and that neighbours are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock.bulk import AdaptiveLimit, split
from penstock.errors import NotConnected
from penstock.message import Record
from penstock_postgres import writes
from penstock_postgres.session import Session

Sql = Callable[..., list[tuple[Any, ...]]]


def test_only_what_is_refused_is_not_stored(opener: Any, sql: Sql) -> None:
    """Options that PostgreSQL does not know, and priorities out of range."""

    async def main() -> list[str]:
        async with opener.producer() as producer:
            records = [
                Record(b"good"),
                Record(b"bad", options={"partition": 3}),
                Record(b"bad", options={"priority": 40_000}),
                Record(b"bad", options={"priority": "high"}),
                Record(b"bad", options={"priority": True}),
                Record(b"too", options={"priority": 3}),
            ]
            answers = await producer.produce(records)
            assert [error is None for error in answers] == [True, False, False, False, False, True]
            assert not any(error.retriable for error in answers if error)
            return [str(error) for error in answers]

    texts = asyncio.run(main())
    assert "no option 'partition'" in texts[1]
    assert "a priority is a whole number" in texts[2]
    assert sql("SELECT body FROM penstock_messages ORDER BY id") == [(b"good",), (b"too",)]


def test_a_record_that_the_server_refuses_is_found_among_its_neighbours(opener: Any, sql: Sql) -> None:
    """A rule of the user's own on the table: the statement fails as a whole, and is halved until one stands alone."""

    async def main() -> None:
        async with opener.producer() as producer:
            sql("ALTER TABLE penstock_messages ADD CONSTRAINT short CHECK (octet_length(body) < 10)")
            records = [Record(bytes(20) if number in (3, 7) else b"%d" % number) for number in range(9)]
            answers = await producer.produce(records)
            assert [number for number, error in enumerate(answers) if error] == [3, 7]
            assert all("short" in str(error) and not error.retriable for error in answers if error)

    asyncio.run(main())
    assert sql("SELECT body FROM penstock_messages ORDER BY id") == [
        (b"%d" % number,) for number in range(9) if number not in (3, 7)
    ]


def test_a_large_call_is_stored_in_several_statements_in_order(opener: Any, sql: Sql) -> None:
    """A thousand records, or 16 MiB, at a time."""

    async def main() -> None:
        async with opener.producer() as producer:
            assert not any(await producer.produce([Record(b"%d" % number) for number in range(2_500)]))

    asyncio.run(main())
    stored = [body for (body,) in sql("SELECT body FROM penstock_messages ORDER BY id")]
    assert stored == [b"%d" % number for number in range(2_500)]


def test_what_was_confirmed_before_the_server_went_away_is_not_sent_again(opener: Any, sql: Sql) -> None:
    """Only the rest is refused for now."""

    async def main() -> None:
        async with opener.producer() as producer:
            producer._session.statement_limit = AdaptiveLimit(2)
            run, calls = producer._session.run, []

            async def breaks(*arguments: Any) -> Any:
                calls.append(arguments)
                if len(calls) == 2:
                    sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name = 'penstock' AND datname = current_database()"
                    )
                return await run(*arguments)

            producer._session.run = breaks
            answers = await producer.produce([Record(b"%d" % number) for number in range(6)])
            assert [error is None for error in answers] == [True, True, False, False, False, False]
            assert all(error.retriable for error in answers if error)
            with pytest.raises(NotConnected):
                await producer.produce([Record(b"x")])
            await producer.connect()
            assert not any(await producer.produce([Record(b"x")]))

    asyncio.run(main())
    assert [body for (body,) in sql("SELECT body FROM penstock_messages ORDER BY id")] == [b"0", b"1", b"x"]


def test_a_record_that_no_server_takes_is_refused_before_it_hangs_up(opener: Any) -> None:
    """It would take it for a broken wire each time, and so would we."""

    async def main() -> None:
        async with opener.producer() as producer:
            large = bytes(writes.MAX_RECORD_BYTES)
            for record in (Record(large, b"k"), Record(b"", None, [("h", large)])):
                refused, stored = await producer.produce([record, Record(b"x")])
                assert "at most 1,000,000,000 in a message" in str(refused)
                assert not refused.retriable
                assert stored is None

    asyncio.run(main())


def test_a_statement_carries_keys_and_headers_too(opener: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count towards the size of a statement."""
    monkeypatch.setattr(writes, "MAX_STATEMENT_BYTES", 100)
    records = [Record(b"", bytes(60)), Record(None, None, [("name", bytes(60))]), Record(bytes(30)), Record(b"")]

    assert list(split(records, writes.limits(Session(opener.options())))) == [[0], [1, 2, 3]]


def test_statements_get_smaller_and_larger_again(opener: Any) -> None:
    """Half of what failed; twice as many records after a statement that was full and quick."""
    session = Session(opener.options())
    limit = session.statement_limit
    assert limit.value == 1_000
    for count, value in ((300, 150), (150, 75), (3, 1), (1, 1)):
        limit.failed(count)
        assert limit.value == value
    for _ in range(12):
        limit.succeeded(limit.value)
    assert limit.value == 1_000
    limit.failed(8)
    assert list(split([Record(b"x")] * 9, writes.limits(session))) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_a_user_who_may_only_insert_is_enough(opener: Any, sql: Sql, dsn: str, schema: str) -> None:
    """A producer needs nothing else of the table."""
    role = f"writer_{dsn.rpartition('/')[2]}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")

    async def main() -> None:
        async with opener.producer():
            pass  # the table is there now
        sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        sql(f"GRANT INSERT ON penstock_messages TO {role}")
        own = dsn.replace("postgres@", f"{role}:x@")
        async with opener.producer(dsn=own, create=False) as producer:
            assert not any(await producer.produce([Record(b"x")]))

    asyncio.run(main())
