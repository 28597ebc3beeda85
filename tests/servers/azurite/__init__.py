"""A real Azurite, Microsoft's emulator of Azure Storage, its queues alone. `azurite_server` is one for a session."""

from __future__ import annotations

import itertools
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock_kit import ServerProcess, free_port
from tests.servers import npm
from tests.servers.requirement import missing

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Known to everybody: Azurite has them built in."""

READY_WITHIN = 180.0  # seconds; it takes 3 s of CPU to load its modules, and a busy machine has little of that


class AzuriteServer:
    """An Azurite on `port` of the loopback. Ours can be paused and restarted; a test undoes what it does."""

    def __init__(self, port: int, scheme: str = "http") -> None:
        self.host = "127.0.0.1"
        self.port = port
        self._scheme = scheme
        session = uuid.uuid4().hex[:8]
        self._names = (f"test-{session}-{number}" for number in itertools.count(1))

    def queue(self) -> str:
        """A new name, valid for a queue."""
        return next(self._names)

    def connection_string(self, port: int = 0, key: str = KEY, host: str = "") -> str:
        """How clients connect; `port` and `host` are others, of a proxy before it."""
        endpoint = f"{self._scheme}://{host or self.host}:{port or self.port}/{ACCOUNT}"
        return f"AccountName={ACCOUNT};AccountKey={key};QueueEndpoint={endpoint};"

    def restart(self) -> None:
        """SIGTERM and a start: connections are gone, what was confirmed is not."""
        self._unsupported("restart")

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._unsupported("pause")

    def resume(self) -> None:
        """SIGCONT."""
        self._unsupported("resume")

    def _unsupported(self, what: str) -> None:
        missing("azurite", f"cannot {what} the server of PENSTOCK_TEST_AZURITE; unset it")


class OwnAzuriteServer(AzuriteServer):
    """An Azurite of ours. It writes to disk every few seconds only, so it is stopped and not killed.

    Args:
        directory: For its data and its log.
        *arguments: Further ones for its command line.
        scheme: https, if the arguments name a certificate.
    """

    def __init__(self, directory: Path, *arguments: str, scheme: str = "http") -> None:
        super().__init__(free_port(), scheme)
        # By node itself, so that the process is the server and not a shell around it.
        main = _modules() / "azurite" / "dist" / "src" / "queue" / "main.js"
        where = ["--location", directory, "--queueHost", self.host, "--queuePort", str(self.port)]
        # A client newer than the emulator is welcome.
        how = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", *arguments]
        self.process = ServerProcess(
            [npm.node(), main, *where, *how], self._answers, directory / "azurite.log", timeout=READY_WITHIN
        )
        self.pause, self.resume = self.process.pause, self.process.resume  # type: ignore[method-assign]

    def restart(self) -> None:
        self.process.stop()
        self.process.start()

    def _answers(self) -> bool:
        # It opens its port last.
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


def _modules() -> Path:
    try:
        return npm.fetch(Path(__file__).parent)
    except npm.PackageUnavailableError as error:
        missing("azurite", str(error))


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteServer]:
    """That of PENSTOCK_TEST_AZURITE (host:port), else one of ours, as the lock file names it."""
    if address := os.environ.get("PENSTOCK_TEST_AZURITE"):
        yield AzuriteServer(int(address.rpartition(":")[2]))
        return
    server = OwnAzuriteServer(tmp_path_factory.mktemp("azurite"))
    server.process.start()
    try:
        yield server
    finally:
        server.process.kill()


@pytest.fixture(scope="module")
def own_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., OwnAzuriteServer]]:
    """`own_azurite("--cert", …, scheme="https")` starts one of the tests' own; all end with the module."""
    servers: list[OwnAzuriteServer] = []

    def start(*arguments: str, scheme: str = "http") -> OwnAzuriteServer:
        servers.append(OwnAzuriteServer(tmp_path_factory.mktemp("azurite"), *arguments, scheme=scheme))
        servers[-1].process.start()
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
