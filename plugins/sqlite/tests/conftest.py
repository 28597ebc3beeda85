"""Queues in a file of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from penstock_sqlite.consumer import SqliteConsumer
from penstock_sqlite.options import SqliteOptions
from penstock_sqlite.producer import SqliteProducer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file will be."""
    return tmp_path / "queues.db"


@pytest.fixture
def options(path: Path) -> Callable[..., SqliteOptions]:
    """Makes options for the file."""
    return lambda **more: SqliteOptions(path=str(path), **more)


class Opened:
    """Makes connectors that are connected, and closes them."""

    def __init__(self, stack: ExitStack, options: Callable[..., SqliteOptions]) -> None:
        self._stack = stack
        self._options = options

    def consumer(self, queue: str = "q", **more: Any) -> SqliteConsumer:
        """A consumer of a queue."""
        return self._connected(SqliteConsumer(queue, self._options(**more)))

    def producer(self, queue: str = "q", **more: Any) -> SqliteProducer:
        """A producer of a queue."""
        return self._connected(SqliteProducer(queue, self._options(**more)))

    def _connected(self, connector: Any) -> Any:
        self._stack.callback(connector.shutdown)
        connector.connect()
        return connector


@pytest.fixture
def opened(options: Callable[..., SqliteOptions]) -> Iterator[Opened]:
    """Connectors of the file."""
    with ExitStack() as stack:
        yield Opened(stack, options)
