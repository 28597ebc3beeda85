"""What `penstock check --connect` says of files."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from penstock.operations.probe import probe
from penstock.options import Role
from penstock.standalone import make_producer, resolve

ROLES: tuple[Role, ...] = ("input", "output")


def ask(role: Role, **config: Any) -> tuple[bool, str]:
    """The answer about a queue."""
    queue = resolve({"connector": "sqlite", "value": "orders", "config": config}, role)

    async def main() -> tuple[bool, str]:
        [found] = [each async for each in probe([queue])]
        return found.ok, found.text

    return asyncio.run(main())


@pytest.mark.parametrize("role", ROLES)
def test_what_a_worker_creates_is_well_and_is_not_created(tmp_path: Path, role: Role) -> None:
    """The folder must be there."""
    assert ask(role, path=str(tmp_path / "q.db")) == (
        True,
        f"the folder can be written; file {tmp_path / 'q.db'}: created when a worker starts",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("role", ROLES)
def test_what_is_missing_is_told_with_what_to_do(tmp_path: Path, role: Role) -> None:
    """Folder, file, tables."""
    ok, text = ask(role, path=str(tmp_path / "none" / "q.db"))
    assert not ok
    assert "there is no folder" in text
    ok, text = ask(role, path=str(tmp_path / "q.db"), create=False)
    assert not ok
    assert "create the file, or set `create: true`" in text
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE x (y)").connection.close()
    ok, text = ask(role, path=str(tmp_path / "other.db"), create=False)
    assert not ok
    assert "it has no tables of queues" in text
    (tmp_path / "text.db").write_text("this is a plain text file, and a long one " * 99)
    assert not ask(role, path=str(tmp_path / "text.db"))[0]


@pytest.mark.parametrize("role", ROLES)
def test_a_file_that_works(tmp_path: Path, role: Role) -> None:
    """Once a worker has made it."""
    file = str(tmp_path / "q.db")

    async def make() -> None:
        producer = make_producer(resolve({"connector": "sqlite", "config": {"path": file}}, "output"))
        await producer.connect()
        await producer.shutdown()

    asyncio.run(make())

    assert ask(role, path=file, create=False) == (
        True,
        f"SQLite file at {file} can be opened; may write; its tables exist",
    )
