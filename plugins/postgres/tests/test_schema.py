"""The table of messages: made once, by the first worker, and what is said when it is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from penstock.errors import FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_postgres import schema as schema_module
from penstock_postgres.session import Session

Sql = Callable[..., list[tuple[Any, ...]]]


def connecting(opener: Any, side: str, **options: Any) -> str:
    """What is said when a connector is refused."""

    async def main() -> None:
        async with getattr(opener, side)(**options):
            raise AssertionError("it connected")

    with pytest.raises(FatalConnectorError) as caught:
        asyncio.run(main())
    return str(caught.value)


@pytest.mark.parametrize("side", ["consumer", "producer"])
def test_a_missing_table_is_told_with_its_two_remedies(opener: Any, schema: str, side: str) -> None:
    """A database is not changed unless the options allow it."""
    text = connecting(opener, side, create=False)

    assert f"there is no table {schema}.penstock_messages" in text
    assert "`penstock postgres migrate`" in text
    assert "`create: true`" in text


def test_several_that_create_at_once_make_one_table(opener: Any, sql: Sql) -> None:
    """The first makes it, the others wait and find it."""

    async def main() -> None:
        async def one() -> None:
            async with opener.producer() as producer:
                await producer.produce([Record(b"x")])

        await asyncio.gather(*(one() for _ in range(6)))

    asyncio.run(main())
    assert sql("SELECT count(*) FROM penstock_messages") == [(6,)]


def test_migrating_again_does_nothing(opener: Any, schema: str) -> None:
    """And says so."""

    async def main() -> None:
        connection = Session(opener.options())
        await connection.open()
        try:
            assert await schema_module.migrate(connection, schema, "penstock_messages") == [1, 2]
            assert await schema_module.migrate(connection, schema, "penstock_messages") == []
        finally:
            await connection.close()

    asyncio.run(main())


def test_a_table_whose_comment_was_changed_is_migrated_harmlessly(opener: Any, sql: Sql) -> None:
    """The migrations may run again over what they made; the messages stay."""

    async def main() -> None:
        async with opener.producer() as producer:
            await producer.produce([Record(b"x")])
        sql("COMMENT ON TABLE penstock_messages IS 'ours'")
        async with opener.producer(), opener.consumer(create=False) as consumer:
            assert await consumer.consume(1, 1.0)

    asyncio.run(main())
    assert sql("SELECT obj_description('penstock_messages'::regclass)") == [("penstock messages, version 2",)]


def test_an_old_table_is_refused(opener: Any, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a statement fails on a column that it has not."""

    async def main() -> None:
        async with opener.producer():
            monkeypatch.setattr(schema_module, "latest_version", lambda: 3)

    asyncio.run(main())
    assert "is of version 2, this Penstock needs 3" in connecting(opener, "consumer", create=False)


def test_an_old_workers_comment_stops_no_new_worker(opener: Any, sql: Sql) -> None:
    """While a deployment replaces it, it writes its own version when it connects again; the columns are there."""
    comment = "COMMENT ON TABLE penstock_messages IS 'penstock messages, version 1'"

    async def main() -> None:
        async with opener.producer() as producer:
            await producer.produce([Record(b"x")])
        sql(comment)
        async with opener.consumer(create=False) as consumer:
            assert await consumer.consume(1, 1.0)

    asyncio.run(main())
    sql("ALTER TABLE penstock_messages DROP COLUMN unended_calls")
    assert "is of version 1, this Penstock needs 2" in connecting(opener, "consumer", create=False)


def test_the_version_of_a_newer_table_is_not_lowered(opener: Any, sql: Sql) -> None:
    """By a worker that is older and may create tables: the newer ones would be refused."""
    newer = "penstock messages, version 99"

    async def main() -> None:
        async with opener.producer():
            sql(f"COMMENT ON TABLE penstock_messages IS '{newer}'")
        async with opener.producer(), opener.consumer():
            pass

    asyncio.run(main())
    assert sql("SELECT obj_description('penstock_messages'::regclass)") == [(newer,)]


def test_a_migration_does_not_wait_long_for_a_reader(opener: Any, sql: Sql, dsn: str, schema: str) -> None:
    """Behind it, all who use the table would wait: until a dump ends, or `timeout` has passed each time."""

    async def main() -> None:
        async with opener.producer():
            pass
        sql("ALTER TABLE penstock_messages DROP COLUMN unended_calls")
        sql("COMMENT ON TABLE penstock_messages IS 'penstock messages, version 1'")
        async with await psycopg.AsyncConnection.connect(dsn) as reader:
            await reader.execute(f"SELECT count(*) FROM {schema}.penstock_messages")
            async with asyncio.timeout(10):
                with pytest.raises(NotConnected, match="lock timeout"):
                    async with opener.consumer(timeout=60):
                        pass
            assert sql("SELECT count(*) FROM penstock_messages") == [(0,)]
        async with opener.consumer():
            pass

    asyncio.run(main())
    assert sql("SELECT unended_calls FROM penstock_messages") == []


def test_a_schema_and_a_table_of_ones_own(opener: Any, sql: Sql) -> None:
    """Both are made where they are missing, also with capitals in their names."""

    async def main() -> None:
        where = {"schema": "Queues", "table": "Messages"}
        async with opener.producer(**where) as producer, opener.consumer(**where) as consumer:
            await producer.produce([Record(b"x")])
            assert await consumer.consume(1, 1.0)

    asyncio.run(main())
    assert sql('SELECT count(*) FROM "Queues"."Messages"') == [(1,)]


def test_missing_privileges_are_named(opener: Any, sql: Sql, dsn: str, schema: str) -> None:
    """With the statement that grants them."""
    role = f"reader_{dsn.rpartition('/')[2]}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")

    async def main() -> None:
        async with opener.producer():
            pass

    asyncio.run(main())
    sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    sql(f"GRANT SELECT ON penstock_messages TO {role}")
    own = dsn.replace("postgres@", f"{role}:x@")

    assert f"lacks UPDATE, DELETE on table {schema}.penstock_messages" in connecting(
        opener, "consumer", dsn=own, create=False
    )
    assert f"GRANT INSERT ON {schema}.penstock_messages" in connecting(opener, "producer", dsn=own, create=False)


def test_the_table_is_vacuumed_early_and_often(opener: Any, sql: Sql) -> None:
    """A queue's rows are dead within seconds; a table that waits for a fifth of itself to die grows for ever."""

    async def main() -> None:
        async with opener.producer():
            pass

    asyncio.run(main())
    [[options]] = sql("SELECT reloptions FROM pg_class WHERE oid = 'penstock_messages'::regclass")
    assert {"fillfactor=70", "autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=1000"} <= set(options)
