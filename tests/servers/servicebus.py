"""Service Bus for tests: a double of our own, or the real namespace that the environment names."""

from __future__ import annotations

import itertools
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from penstock_kit import ServerProcess, free_port
from tests.servers.requirement import missing

NAMESPACE = "PENSTOCK_TEST_SERVICE_BUS"
"""The connection string of a real namespace. Its queues are named by PENSTOCK_TEST_SERVICE_BUS_QUEUES, empty, with
commas between them; a test takes the next one."""

DOUBLE = Path(__file__).with_name("servicebus_double.py")
KEY = "c2VjcmV0"


class ServiceBusServer(ServerProcess):
    """The double, on `port` of the loopback. Everything is in memory."""

    def __init__(self, directory: Path) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        session = uuid.uuid4().hex[:8]
        self._names = (f"test-{session}-{number}" for number in itertools.count(1))
        command = [sys.executable, DOUBLE, str(self.port)]
        super().__init__(command, self._answers, directory / "servicebus.log", timeout=60.0)

    def queue(self) -> str:
        """A new name."""
        return next(self._names)

    def connection_string(self, port: int = 0, name: str = "worker", key: str = KEY) -> str:
        """How clients connect.

        Args:
            port: Another one, of a proxy before it.
            name: Of the key: locks of `short` last a second.
            key: Its value.
        """
        # The client then speaks plain TCP, and keeps the port.
        where = f"Endpoint=sb://{self.host}:{port or self.port};UseDevelopmentEmulator=true"
        return f"{where};SharedAccessKeyName={name};SharedAccessKey={key}"

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="session")
def servicebus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceBusServer]:
    """The double."""
    if find_spec("proton") is None:
        missing("servicebus", "no python-qpid-proton, which the double of Service Bus is made of")
    server = ServiceBusServer(tmp_path_factory.mktemp("servicebus"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def servicebus_namespace() -> tuple[str, Iterator[str]]:
    """A real namespace: its connection string, and the names of its empty queues."""
    if not (namespace := os.environ.get(NAMESPACE)):
        pytest.skip(f"{NAMESPACE} names no real namespace")
    return namespace, itertools.cycle(os.environ[f"{NAMESPACE}_QUEUES"].split(","))
