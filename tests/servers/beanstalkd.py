"""A real beanstalkd for a whole session, its jobs on disk."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock_kit import ServerProcess, free_port
from tests.servers.requirement import missing


class BeanstalkdServer(ServerProcess):
    """A beanstalkd on `port` of the loopback. A test undoes what it does to it.

    Args:
        binary: The server's executable.
        directory: For its binlog and its log.
    """

    max_job_size = 2_000_000

    def __init__(self, binary: str, directory: Path) -> None:
        self.port = free_port()
        where = ["-l", "127.0.0.1", "-p", str(self.port), "-z", str(self.max_job_size)]
        # -f0: each job is on disk before it is confirmed.
        super().__init__([binary, *where, "-b", directory, "-f0"], self._answers, directory / "beanstalkd.log")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"list-tube-used\r\n")
                return connection.recv(100).startswith(b"USING")
        except OSError:
            return False


@pytest.fixture(scope="session")
def beanstalkd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BeanstalkdServer]:
    """`beanstalkd` from PATH."""
    binary = shutil.which("beanstalkd")
    if binary is None:
        missing("beanstalkd", "no beanstalkd on PATH; install the package beanstalkd")
    server = BeanstalkdServer(binary, tmp_path_factory.mktemp("beanstalkd"))
    server.start()
    try:
        yield server
    finally:
        server.kill()
