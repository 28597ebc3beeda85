"""The connector `memory` keeps every promise: over a broker that processes share, and inside one process."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance
from penstock_memory.producer import MAX_BODY


class MemoryBackend(BackendFixture):
    """Queues in memory; `options` say where."""

    timeout = 5.0
    idle_timeout = 0.1
    short_lease: ClassVar = {"vt": 1.0}
    cannot: ClassVar = {
        "restart": "messages live in the broker's memory: a restart is their end",
        "stop": "whoever finds no broker starts one",
        "nowhere": "whoever finds no broker starts one",
    }

    def __init__(self, **options: Any) -> None:
        self._options = options

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"connector": "memory", "value": queue, "config": {**self._options, **over}}

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(MAX_BODY + 1))


class BrokerBackend(MemoryBackend):
    """A broker behind a socket, which can be frozen."""

    def __init__(self, directory: Path) -> None:
        self._lock = directory / "s.sock.lock"
        super().__init__(url=f"unix://{directory / 's.sock'}")

    def pause_backend(self) -> None:
        os.kill(self.pid(), signal.SIGSTOP)

    def resume_backend(self) -> None:
        os.kill(self.pid(), signal.SIGCONT)

    def pid(self) -> int:
        """The broker, as it has signed its lock."""
        return int(self._lock.read_text())


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerBackend]:
    """One broker for all tests; queues are their own."""
    # Not tmp_path: a socket's path must be short.
    directory = Path(tempfile.mkdtemp(prefix="penstock-"))
    backend = BrokerBackend(directory)
    yield backend
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(backend.pid(), signal.SIGTERM)
    shutil.rmtree(directory, ignore_errors=True)


class TestMemory(ConnectorConformance):
    """A broker that processes share."""

    connector = "memory"

    @pytest.fixture
    def backend(self, broker: BrokerBackend) -> BackendFixture:
        return broker


class InProcessBackend(MemoryBackend):
    """Queues of this process."""

    cannot: ClassVar = {
        **MemoryBackend.cannot,
        "pause": "there is no server",
        "freeze": "the queue lives in the process that would be frozen",
        "processes": "the queue lives in this process and ends with it",
    }


class TestMemoryInOneProcess(ConnectorConformance):
    """Without a `url`."""

    connector = "memory"
    variant = "in one process"

    @pytest.fixture
    def backend(self) -> BackendFixture:
        return InProcessBackend(namespace="conformance")
