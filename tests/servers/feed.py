"""Queues behind HTTP for tests: a process with an aiohttp application that takes records and gives them out as a feed.

`feed_server` is one for the whole session. What it has accepted is in a file, so that a SIGKILL loses nothing.
"""

from __future__ import annotations

import base64
import itertools
import json
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock_kit import ServerProcess, free_port

STARTS_WITHIN = 60.0  # seconds; it takes one, on a machine that has nothing else to do


class FeedServer(ServerProcess):
    """`POST /NAME` stores a body once for each `Idempotency-Key`; `GET /NAME?after=3` lists those behind the third."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        session = uuid.uuid4().hex[:8]
        self._names = (f"test-{session}-{number}" for number in itertools.count(1))
        self._data = directory / "records.jsonl"
        command = [sys.executable, str(Path(__file__).with_name("feed_app.py")), str(self.port), str(self._data)]
        super().__init__(command, self._is_up, directory / "feed.log", timeout=STARTS_WITHIN)

    def _is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def queue(self) -> str:
        """The URL of a new queue."""
        return f"{self.url}/{next(self._names)}"

    def bodies(self, url: str) -> list[bytes]:
        """What a queue has."""
        name = url.rpartition("/")[2]
        lines = self._data.read_text().splitlines()
        return [base64.b64decode(line["body"]) for line in map(json.loads, lines) if line["queue"] == name]


@pytest.fixture(scope="session")
def feed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeedServer]:
    """The server of this session."""
    server = FeedServer(tmp_path_factory.mktemp("feed"))
    server.start()
    try:
        yield server
    finally:
        server.kill()
