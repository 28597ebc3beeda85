"""The promises of every connector, as Penstock's kit tests them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock_kit import BackendFixture, ConnectorConformance


class FolderBackend(BackendFixture):
    """How the kit reaches a folder. A directory is not a server, so nothing can be stopped."""

    idle_timeout = 0.15
    cannot = {  # noqa: RUF012
        "restart": "a directory is not a server",
        "stop": "a directory is not a server",
        "pause": "a directory is not a server",
        "nowhere": "a directory has no address",
        "refuse": "every body fits into a file",
        "lease": "a message is held for as long as its process lives",
        "freeze": "a message is held for as long as its process lives",
    }

    def __init__(self, path: Path) -> None:
        self._path = path

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"connector": "folder", "value": queue, "config": {"path": str(self._path), **over}}


class TestFolder(ConnectorConformance):
    connector = "folder"

    @pytest.fixture
    def backend(self, tmp_path: Path) -> FolderBackend:
        return FolderBackend(tmp_path)
