"""The connector `memory` keeps every promise that a queue inside one process can keep."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance
from penstock_memory.producer import MAX_BODY


class MemoryBackend(BackendFixture):
    """Queues of this process."""

    timeout = 5.0
    idle_timeout = 0.1
    short_lease: ClassVar = {"vt": 1.0}
    cannot: ClassVar = {
        "restart": "it has no server",
        "stop": "it has no server",
        "nowhere": "it has no server",
        "pause": "it has no server",
        "freeze": "the queue lives in the process that would be frozen",
        "processes": "the queue lives in this process and ends with it",
    }

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"connector": "memory", "value": queue, "config": {"namespace": "conformance", **over}}

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(MAX_BODY + 1))


class TestMemory(ConnectorConformance):
    """Inside one process."""

    connector = "memory"

    @pytest.fixture
    def backend(self) -> BackendFixture:
        return MemoryBackend()
