"""The connector `sqlite` keeps every promise, on a file that processes share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance


class SqliteBackend(BackendFixture):
    """Queues in one file."""

    timeout = 8.0
    idle_timeout = 0.2
    short_lease: ClassVar = {"lease": 1.0}
    cannot: ClassVar = {
        "restart": "a file has no server that could be started again",
        "stop": "a file has no server that could be stopped",
    }

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: sqlite3.Connection | None = None

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"connector": "sqlite", "value": queue, "config": {"path": str(self._path), "lease": 20.0, **over}}

    def pause_backend(self) -> None:
        self._lock = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._lock.execute("BEGIN IMMEDIATE")

    def resume_backend(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def nowhere(self, queue: str) -> dict[str, Any]:
        return self.config(queue, path=str(self._path.parent / "no-such-folder" / "queues.db"))

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(b"x", options={"priority": 1_000_000})


class TestSqlite(ConnectorConformance):
    """A file that is synced at every commit."""

    connector = "sqlite"

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[BackendFixture]:
        backend = SqliteBackend(tmp_path / "queues.db")
        yield backend
        backend.resume_backend()
