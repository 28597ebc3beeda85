"""PostgreSQL's errors as ours: by SQLSTATE, on a real server, without secrets or data."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected
from penstock_postgres.errors import BY_SQLSTATE, ERRORS, REMEDIES, is_about_the_record
from penstock_postgres.options import PostgresOptions
from penstock_postgres.session import Address, Session

Sql = Callable[..., list[tuple[Any, ...]]]


def connecting(dsn: str) -> ConnectorError:
    """What comes of connecting there."""

    async def main() -> None:
        connection = Session(PostgresOptions.model_validate({"dsn": dsn, "timeout": 3}))
        try:
            await connection.open()
        finally:
            await connection.close()

    with pytest.raises(ConnectorError) as caught:
        asyncio.run(main())
    return caught.value


def elsewhere(dsn: str, **parts: str) -> str:
    """The DSN with another user, password or database."""
    split = urlsplit(dsn)
    host = f"{parts.get('user', 'postgres')}:{parts.get('password', 'x')}@{split.hostname}:{split.port}"
    return urlunsplit(split._replace(netloc=host, path=f"/{parts.get('database', split.path[1:])}"))


def test_a_wrong_password_is_fatal_and_not_shown(dsn: str, sql: Sql) -> None:
    """It will be as wrong the next time."""
    sql("CREATE ROLE guarded LOGIN PASSWORD 'right'") if not sql(
        "SELECT 1 FROM pg_roles WHERE rolname = 'guarded'"
    ) else None

    error = connecting(elsewhere(dsn, user="guarded", password="s3cret"))

    assert isinstance(error, FatalConnectorError)
    assert "password authentication failed" in str(error)
    assert "check user and password" in str(error)
    assert "s3cret" not in str(error)


def test_a_database_that_does_not_exist_is_fatal(dsn: str) -> None:
    """The sentence says what to do."""
    error = connecting(elsewhere(dsn, database="nowhere"))

    assert isinstance(error, FatalConnectorError)
    assert "create the database" in str(error)


def test_a_user_that_does_not_exist_is_fatal(dsn: str) -> None:
    """As with a wrong password, for the server does not tell them apart."""
    assert isinstance(connecting(elsewhere(dsn, user="nobody_here")), FatalConnectorError)


def test_a_server_that_is_not_there_is_waited_for() -> None:
    """It may come."""
    error = connecting("postgresql://x:s3cret@127.0.0.1:1/x")

    assert isinstance(error, NotConnected)
    assert "127.0.0.1:1/x" in str(error)
    assert "s3cret" not in str(error)


def test_a_dsn_that_does_not_parse_is_not_quoted() -> None:
    """psycopg's own text would quote it."""
    with pytest.raises(ConfigError) as caught:
        Address("host=a s3cret")

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_address_knows_libpqs_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the DSN leaves out comes from there, as it does when libpq connects."""
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGUSER", "shop")

    assert Address("").server == Address("host=db.example port=5432 user=shop dbname=shop").server
    assert str(Address("")) == "db.example:5432/shop"
    assert str(Address("postgresql://u:s3cret@h:1/d")) == "h:1/d"


def test_a_service_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them may be two databases: what is in the file, only libpq knows."""
    assert Address("service=shop").server != Address("service=log").server
    assert Address("service=shop").server == Address("service=shop").server
    assert str(Address("service=shop password=s3cret")) == "service shop"
    monkeypatch.setenv("PGSERVICE", "shop")
    assert Address("").server == Address("service=shop").server
    assert Address("host=a hostaddr=10.0.0.1").server != Address("host=a hostaddr=10.0.0.2").server


CASES = {
    "SELECT 1 FROM no_such_table": (FatalConnectorError, "penstock postgres migrate"),
    "SELECT no_such_column FROM pg_class": (FatalConnectorError, "not of this version"),
    "SET statement_timeout = 1; SELECT pg_sleep(1)": (NotConnected, "statement timeout"),
    "BEGIN READ ONLY; CREATE TABLE t ()": (NotConnected, "read-only"),
    "SELECT 1 / 0": (ConnectorError, "does not fit"),
    "SELECT pg_terminate_backend(pg_backend_pid())": (NotConnected, "terminating connection"),
}


@pytest.mark.parametrize("statement", CASES)
def test_what_the_server_says_has_its_kind(dsn: str, statement: str) -> None:
    """By the code, whatever the words."""
    kind, words = CASES[statement]
    with psycopg.connect(dsn, autocommit=True) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)

    error = ERRORS.translate(caught.value, "here")

    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT no_such_function()",
        "SELEC 1",
        "SELECT 1 FROM no_such_table",
        "SAVEPOINT outside",
        "EXECUTE nothing",
        "CLOSE nothing",
        "LISTEN a; PREPARE TRANSACTION 'x'",
        "DO $$ BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END $$",
    ],
)
def test_what_is_wrong_with_the_statement_or_the_server_is_not_blamed_on_a_record(dsn: str, statement: str) -> None:
    """It would make a dead letter of each message."""
    with psycopg.connect(dsn, autocommit=True) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)

    assert caught.value.sqlstate
    assert not is_about_the_record(caught.value)


def test_data_is_never_quoted(dsn: str, sql: Sql) -> None:
    """A value that does not fit its column is a user's data."""
    sql("CREATE TABLE people (age integer UNIQUE CHECK (age < 200))")
    sql("INSERT INTO people VALUES (77)")
    for statement in (
        "INSERT INTO people VALUES ('s3cret')",
        "INSERT INTO people VALUES (77)",
        "INSERT INTO people VALUES (777)",
        'INSERT INTO people SELECT (\'{"a": "s3cret}\')::json::text::int',
    ):
        with pytest.raises(psycopg.Error) as caught:
            sql(statement)
        assert is_about_the_record(caught.value)
        assert not re.search("s3cret|77", str(ERRORS.translate(caught.value, "here")))


def test_every_code_of_the_table_is_one_of_postgresql() -> None:
    """A misspelt code would never be found: psycopg knows them all."""
    known = {
        error.sqlstate
        for error in vars(psycopg.errors).values()
        if isinstance(error, type) and issubclass(error, psycopg.Error) and error.sqlstate
    }

    for code in (*BY_SQLSTATE, *REMEDIES):
        assert any(each.startswith(code) for each in known), code


def test_connecting_has_a_time_of_its_own() -> None:
    """An hour for making an index is not a reason to wait an hour for a host that is not there."""

    def patience(dsn: str, timeout: float) -> str:
        connection = Session(PostgresOptions.model_validate({"dsn": dsn, "timeout": timeout}))
        return str(conninfo_to_dict(connection.conninfo())["connect_timeout"])

    assert [patience("host=a", timeout) for timeout in (0.1, 10, 3600)] == ["2", "10", "30"]
    assert patience("host=a connect_timeout=99", 3600) == "99"
