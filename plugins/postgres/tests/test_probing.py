"""What `penstock check --connect` says of PostgreSQL servers, as they are."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from penstock.operations.probe import ProbedQueue, probe
from penstock.options import Role
from penstock.standalone import resolve

Sql = Callable[..., list[tuple[Any, ...]]]


def ask(role: Role, connector: str = "postgres", value: str = "orders", **config: Any) -> ProbedQueue:
    """The answer about a queue."""
    queue = resolve({"connector": connector, "value": value, "config": config}, role)

    async def main() -> ProbedQueue:
        [found] = [each async for each in probe([queue])]
        return found

    return asyncio.run(main())


def test_a_queue_without_and_with_its_table(dsn: str, schema: str, sql: Sql) -> None:
    """Nothing is created; `create` says that a worker does it."""
    missing = ask("input", dsn=dsn, schema=schema)
    assert not missing.ok
    assert "there is no table" in missing.text
    assert "run `penstock postgres migrate`, or set `create: true`" in missing.text
    later = ask("output", dsn=dsn, schema=schema, create=True)
    assert later.ok
    assert "is created when a worker starts" in later.text
    assert sql("SELECT count(*) FROM pg_tables WHERE schemaname = %s", schema) == [(0,)]

    from penstock_postgres import schema as tables  # the way of the command `migrate`
    from penstock_postgres.options import PostgresOptions
    from penstock_postgres.session import Session

    async def migrate() -> None:
        session = Session(PostgresOptions(dsn=dsn))  # type: ignore[arg-type]
        await session.open()
        await tables.migrate(session, schema, "penstock_messages")
        await session.close()

    asyncio.run(migrate())
    for role in ("input", "output"):
        found = ask(role, dsn=dsn, schema=schema)
        assert found.ok
        assert "exists" in found.text
        assert "the clocks agree" in found.text


def test_a_role_that_may_not(dsn: str, schema: str, sql: Sql) -> None:
    """The privileges that are missing are named, with the command that grants them."""
    sql(f"CREATE TABLE {schema}.invoices (id bigint PRIMARY KEY)")
    sql(f"DROP ROLE IF EXISTS probe_{schema}")
    sql(f"CREATE ROLE probe_{schema} LOGIN PASSWORD 's3cr3t'")
    try:
        sql(f"GRANT USAGE ON SCHEMA {schema} TO probe_{schema}")
        reader = make_conninfo(dsn, user=f"probe_{schema}", password="s3cr3t")
        found = ask("output", "postgres.table", "invoices", dsn=reader, schema=schema)
        assert not found.ok
        assert "lacks" in found.text
        assert "INSERT" in found.text
        assert "s3cr3t" not in found.text
    finally:
        sql(f"DROP OWNED BY probe_{schema}")
        sql(f"DROP ROLE probe_{schema}")


def test_a_table_of_the_users_that_is_missing(dsn: str, schema: str) -> None:
    """`create` would not make it."""
    found = ask("output", "postgres.table", "nothing", dsn=dsn, schema=schema, create=True)

    assert not found.ok
    assert f"there is no table {schema}.nothing; create it, or correct `value`" in found.text


def test_servers_that_are_away_or_have_no_such_database(dsn: str) -> None:
    """By the connector's own words, without the password."""
    away = ask("input", dsn="postgresql://u:s3cr3t@127.0.0.1:1/db")
    assert not away.ok
    assert "127.0.0.1:1/db" in away.text
    assert "s3cr3t" not in away.text
    other = ask("input", dsn=make_conninfo(dsn, dbname="no_such_database"))
    assert not other.ok
    assert "create the database, or name another one in `dsn`" in other.text


def test_a_server_that_never_answers() -> None:
    """Within the connector's own timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        found = ask("input", dsn=f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/db", timeout=2)

    assert not found.ok
    assert time.monotonic() - started < 12


def test_a_clock_that_is_off(dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is this machine's that lags."""
    monkeypatch.setattr("penstock_postgres.probing.time", SimpleNamespace(time=lambda: time.time() - 60))

    found = ask("input", dsn=dsn, schema=schema, create=True)

    assert not found.ok
    assert "the server's clock is 60 s ahead of this machine's" in found.text
