"""The tables: created once, by the first process, and never changed by a version that does not know them."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import FatalConnectorError
from penstock.message import Record
from penstock_sqlite import schema
from penstock_sqlite.producer import SqliteProducer


def test_many_that_come_at_once_create_the_tables_once(options: Any) -> None:
    """Each of them can work afterwards."""
    producers = [SqliteProducer("q", options()) for _ in range(8)]
    failures: list[BaseException] = []

    def connect(producer: SqliteProducer) -> None:
        try:
            producer.connect()
            producer.produce([Record(b"x")])
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        finally:
            producer.shutdown()

    threads = [threading.Thread(target=connect, args=(producer,)) for producer in producers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []


def test_tables_of_a_newer_version_are_refused(opened: Any, options: Any, path: Path) -> None:
    """Both versions are named; an older penstock-sqlite might lose what it does not know."""
    opened.producer()
    with sqlite3.connect(path) as program:
        program.execute("UPDATE penstock_schema SET version = ?", (schema.LATEST + 1,))
    program.close()
    producer = SqliteProducer("q", options())
    with pytest.raises(FatalConnectorError, match=f"version {schema.LATEST + 1}.* knows {schema.LATEST}; upgrade"):
        producer.connect()
    producer.shutdown()


def test_tables_of_an_older_version_are_brought_up_to_date(
    opened: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `create: true`; else the error says so. The messages stay."""
    opened.producer().produce([Record(b"old")])
    migrations = (*schema.MIGRATIONS, ("ALTER TABLE penstock_messages ADD COLUMN more INTEGER",))
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(schema, "LATEST", len(migrations))
    with pytest.raises(
        FatalConnectorError, match="tables of version 1, and this penstock-sqlite needs version 2; set `create"
    ):
        opened.consumer(create=False)
    consumer = opened.consumer()

    assert [message.message for message in consumer.consume(1, 5)] == [b"old"]
    with sqlite3.connect(path) as program:
        assert schema.version(program) == 2
    program.close()


def test_tables_of_the_users_own_stay(opened: Any, path: Path) -> None:
    """The queues may live in a database that exists."""
    with sqlite3.connect(path) as program:
        program.execute("CREATE TABLE mine (id)")
        program.execute("INSERT INTO mine VALUES (7)")
    program.close()
    opened.producer().produce([Record(b"x")])
    with sqlite3.connect(path) as program:
        assert program.execute("SELECT id FROM mine").fetchall() == [(7,)]
    program.close()
