"""A Pub/Sub for tests, in memory: `pubsub_server` is one for the whole session.

Looked for in this order: Google's emulator, where PENSTOCK_TEST_PUBSUB_JAR names its jar and `java` exists; pstest of
Google's client for Go, where `go` exists.

pstest is Google's own fake. Our main (main.go) adds rules of the real service that it leaves out: what a publish may
have, and the answers of exactly-once delivery. What still differs: a topic and its messages end with the process, and
with order by key a key has one message under way at a time.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock_kit import ServerProcess, free_port
from tests.servers.pubsub import build
from tests.servers.requirement import missing

PROJECT = "test"
READY_WITHIN = 60.0  # seconds; pstest takes 0.1, Google's emulator is a Java program

_why_none = ""


class PubSubServer(ServerProcess):
    """A Pub/Sub on `port` of the loopback.

    Args:
        directory: For its log.
        *arguments: Further ones for pstest ("-token", "x").

    Attributes:
        counts: The port of `counting`.

    Raises:
        PstestUnavailableError: it cannot be built here.
    """

    counts = 0

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.port = free_port()
        jar = os.environ.get("PENSTOCK_TEST_PUBSUB_JAR")
        self.is_googles = bool(jar) and not arguments and shutil.which("java") is not None
        if self.is_googles:
            command = ["java", "-Xmx256m", "-jar", str(jar), "--host=127.0.0.1", f"--port={self.port}"]
        else:
            command = [str(build.program()), "-port", str(self.port), *arguments]
        super().__init__(command, self._answers, directory / "pubsub.log", timeout=READY_WITHIN)

    @property
    def address(self) -> str:
        """For the option `emulator`."""
        return f"127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        return _opens("127.0.0.1", self.port)


def _opens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build pstest before the first test: on a new machine that takes longer than a test may."""
    if session.config.getoption("collectonly"):
        return
    if any({"pubsub_server", "own_pubsub"} & set(getattr(item, "fixturenames", ())) for item in session.items):
        try:
            build.program()
        except build.PstestUnavailableError as error:
            # Told by the fixture, to each test that needs it. Not built twice: the failure may have taken long.
            global _why_none
            _why_none = str(error)


def counting(directory: Path) -> PubSubServer:
    """A server that runs, and tells on its port `counts` how much is in a topic."""
    counts = free_port()
    server = started(directory, "-counts", str(counts))
    server.counts = counts
    return server


def started(directory: Path, *arguments: str) -> PubSubServer:
    """A server that runs; a test without one is skipped."""
    try:
        if _why_none and not os.environ.get("PENSTOCK_TEST_PUBSUB_JAR"):
            missing("pubsub", _why_none)
        server = PubSubServer(directory, *arguments)
    except build.PstestUnavailableError as error:
        missing("pubsub", str(error))
    server.start()
    return server


@pytest.fixture
def pubsub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSubServer]:
    """A server of the test's own: it starts in 20 ms, and looks at each subscription a hundred times a second."""
    server = started(tmp_path_factory.mktemp("pubsub"))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def own_pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PubSubServer]]:
    """`own_pubsub("-token", "x")` starts a server of this test's own."""
    servers: list[PubSubServer] = []

    def start(*arguments: str) -> PubSubServer:
        servers.append(started(tmp_path_factory.mktemp("pubsub"), *arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
