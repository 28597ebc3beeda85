"""`penstock postgres`, as a command of the core's command line."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.servers.postgres import PostgresServer

from penstock.cli.main import main
from penstock.errors import FatalConnectorError
from penstock_postgres.consumer import PostgresConsumer
from penstock_postgres.options import TableOptions

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def dsn(postgres: PostgresServer) -> str:
    """A database of this module's own, for here it is about the default schema."""
    return postgres.fresh()


@pytest.fixture(name="schema")
def default_schema() -> str:
    """The schema that the command uses by default."""
    return "public"


def test_migrate_makes_the_table_and_says_so(dsn: str, sql: Sql, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice does no harm."""
    assert main(["postgres", "migrate", "--dsn", dsn]) == 0
    assert "public.penstock_messages at 127.0.0.1:" in (first := capsys.readouterr().out)
    assert "brought to version 2" in first
    assert main(["postgres", "migrate", "--dsn", dsn]) == 0
    assert "up to date (version 2)" in capsys.readouterr().out
    assert sql("SELECT count(*) FROM penstock_messages") == [(0,)]


def test_the_environment_names_the_database(
    dsn: str, sql: Sql, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a password need not stand in a list of processes."""
    monkeypatch.setenv("DATABASE_URL", dsn)

    assert main(["postgres", "migrate", "--schema", "queues", "--table", "messages"]) == 0
    assert sql("SELECT count(*) FROM queues.messages") == [(0,)]


def test_adopt_adds_what_a_table_of_the_users_lacks(dsn: str, sql: Sql, capsys: pytest.CaptureFixture[str]) -> None:
    """Three columns and two indexes; again it finds them there."""
    sql("CREATE TABLE jobs (id serial PRIMARY KEY)")
    assert main(["postgres", "adopt", "jobs", "--dsn", dsn]) == 0
    added = "added penstock_hidden_until, penstock_lease, penstock_attempts, penstock_unended_calls"
    assert added in capsys.readouterr().out
    assert main(["postgres", "adopt", "jobs", "--dsn", dsn]) == 0
    assert "needs no change" in capsys.readouterr().out
    assert sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'jobs'") == [(3,)]


def test_the_advice_of_an_error_helps(dsn: str, sql: Sql) -> None:
    """Whatever its columns are called: what is to be typed names them."""
    sql('CREATE SCHEMA IF NOT EXISTS "S"')
    sql('CREATE TABLE "S"."the jobs" (number bigint PRIMARY KEY, free boolean)')
    given = {
        "id": "number",
        "visible": "free",
        "hidden_until": "until when",
        "lease_token": "token",
        "attempts": "n",
        "unended_calls": "m",
    }
    options = TableOptions.model_validate({"dsn": dsn, "schema": "S", **given})

    async def connect() -> None:
        consumer = PostgresConsumer("the jobs", options)
        try:
            await consumer.connect()
        finally:
            await consumer.shutdown()

    with pytest.raises(FatalConnectorError) as caught:
        asyncio.run(connect())
    [advice] = re.findall(r"`penstock (postgres adopt .*?)`", str(caught.value))
    assert main([*shlex.split(advice), "--dsn", dsn]) == 0

    asyncio.run(connect())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["migrate"], "set POSTGRES_DSN or DATABASE_URL"),
        (["migrate", "--dsn", "mysql://s3cret@x/y"], "must begin with postgresql://"),
        (["migrate", "--dsn", "DSN", "--table", "a b"], "is not a plain name"),
        (["adopt", "a.b", "--dsn", "DSN"], "`schema` its schema"),
        (["adopt", "nothing", "--dsn", "DSN"], "there is no table public.nothing"),
        (["adopt", "other_jobs", "--id", "number", "--dsn", "DSN"], "has no column 'number'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    dsn: str, sql: Sql, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """With exit code 2, and without secrets."""
    sql("CREATE TABLE IF NOT EXISTS other_jobs (id serial PRIMARY KEY)")

    assert main(["postgres", *(dsn if word == "DSN" else word for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "s3cret" not in error


def test_a_server_that_is_away_is_an_error_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 1."""
    assert main(["postgres", "migrate", "--dsn", "postgresql://x:s3cret@127.0.0.1:1/x"]) == 1
    assert "PostgreSQL at 127.0.0.1:1/x" in (error := capsys.readouterr().err)
    assert "s3cret" not in error


@pytest.mark.parametrize(
    ("dsn", "works"),
    [
        ("postgresql://me:s3cret@db.example/shop", True),
        ("host=db.example user=me password=s3cret dbname=shop", True),
        ("postgresql://db.example/shop?user=me&password=s3cret&sslpassword=s3cret", True),
        ("postgresql://me:s3cret%zz@db.example/shop", False),
        ("host=db.example s3cret", False),
        ("mysql://me:s3cret@db.example/shop", False),
    ],
)
@pytest.mark.parametrize("connector", ["postgres", "postgres.table"])
def test_penstock_check_shows_no_password(
    dsn: str,
    works: bool,
    connector: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither of a configuration that works, nor in what it says about one that does not."""
    config = tmp_path / "queues.yml"
    for text, variable in ((dsn, ""), ("${PG}", dsn)):
        monkeypatch.setenv("PG", variable)
        config.write_text(f"queues:\n  orders: {{connector: {connector}, config: {{dsn: '{text}'}}}}\n")

        code = main(["check", str(config)])

        printed = "".join(capsys.readouterr())
        assert "orders" in printed
        assert "s3cret" not in printed
        assert (code == 0) == works
