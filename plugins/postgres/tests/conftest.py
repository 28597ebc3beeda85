"""What the tests of this plugin share: a schema of their own, connectors that are opened and closed, a look behind."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from tests.servers.postgres import PostgresServer

from penstock.connectors import Consumer, Producer
from penstock_postgres.consumer import PostgresConsumer
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.producer import PostgresProducer

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def no_ambient_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test says itself what the environment holds."""
    for variable in ("POSTGRES_DSN", "DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def shared_dsn(postgres: PostgresServer) -> str:
    """A database that tests share, each with queues of its own; making one a test takes 0.1 s."""
    return postgres.fresh()


@pytest.fixture
def dsn(shared_dsn: str) -> str:
    """The database of the test; overridden where it must be an empty one."""
    return shared_dsn


@pytest.fixture
def schema(dsn: str) -> str:
    """A schema of the test's own, for making a database takes 0.3 s."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return name


@pytest.fixture
def sql(dsn: str, schema: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """`sql("SELECT …", parameters…)` in the test's own schema; the rows, if there are any."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"SET search_path = {schema}")

        def run(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

        yield run


class Opener:
    """Opens connectors on the test's database: `async with open.consumer(lease=1) as consumer`."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._where = {"dsn": dsn, "schema": schema}

    def options(self, **overrides: Any) -> PostgresOptions:
        """Options for a queue in the table of messages."""
        return PostgresOptions.model_validate({**self._where, "create": True, "lease": 20.0, **overrides})

    def table_options(self, **overrides: Any) -> TableOptions:
        """Options for a table of the user's."""
        return TableOptions.model_validate({**self._where, "lease": 20.0, **overrides})

    @asynccontextmanager
    async def consumer(self, queue: str = "orders", **overrides: Any) -> AsyncIterator[PostgresConsumer]:
        async with opened(PostgresConsumer(queue, self.options(**overrides))) as consumer:
            yield consumer

    @asynccontextmanager
    async def producer(self, queue: str = "orders", **overrides: Any) -> AsyncIterator[PostgresProducer]:
        async with opened(PostgresProducer(queue, self.options(**overrides))) as producer:
            yield producer

    @asynccontextmanager
    async def table_consumer(self, table: str, **overrides: Any) -> AsyncIterator[PostgresConsumer]:
        async with opened(PostgresConsumer(table, self.table_options(**overrides))) as consumer:
            yield consumer

    @asynccontextmanager
    async def table_producer(self, table: str, **overrides: Any) -> AsyncIterator[PostgresProducer]:
        async with opened(PostgresProducer(table, self.table_options(**overrides))) as producer:
            yield producer


@asynccontextmanager
async def opened(connector: Any) -> AsyncIterator[Any]:
    """A connector that is connected, and shut down at the end."""
    assert isinstance(connector, Consumer | Producer)
    try:
        await connector.connect()
        yield connector
    finally:
        await connector.shutdown()


@pytest.fixture
def opener(dsn: str, schema: str) -> Opener:
    """See `Opener`."""
    return Opener(dsn, schema)


@pytest.fixture
def consumed() -> Callable[..., Any]:
    """`await consumed(consumer, 3)`: consume until so many messages are there, at most 10 s."""

    async def consume(consumer: Consumer, count: int, at_once: int = 100) -> list[Any]:
        messages: list[Any] = []
        while len(messages) < count:
            got = await consumer.consume(min(at_once, count - len(messages)), 10.0)
            assert got, f"{len(messages)} of {count} messages came in 10 s"
            messages += got
        return messages

    return consume
