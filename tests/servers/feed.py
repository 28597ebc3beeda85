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
    """`POST /NAME` stores a body once for each `Idempotency-Key`, `PUT` one a line; `GET /NAME?after=3` lists
    those behind the third, in Base64, or with `plain=1` as they are and with a link; `GET /NAME?count=1` counts them.

    Attributes:
        directory: Where its data are.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
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

    def stored(self, name: str) -> list[tuple[bytes, str]]:
        """What a queue has: bodies, and of dead letters the stage."""
        lines = map(json.loads, self._data.read_text().splitlines())
        return [(base64.b64decode(line["body"]), line["stage"]) for line in lines if line["queue"] == name]


@pytest.fixture(scope="session")
def feed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeedServer]:
    """The server of this session."""
    server = FeedServer(tmp_path_factory.mktemp("feed"))
    server.start()
    try:
        yield server
    finally:
        server.kill()
