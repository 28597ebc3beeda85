"""A server of a test's own: it starts, dies, comes back with its data, and stands still when it is told."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock_kit import ServerProcess, free_port

COUNTER = """
import socket, sys
file = open(sys.argv[2], "a+")
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    if connection.recv(10) == b"count":
        file.write("x")
        file.flush()
    file.seek(0)
    connection.sendall(str(len(file.read())).encode())
    connection.close()
"""


class Counter(ServerProcess):
    """Counts requests, in a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-c", COUNTER, str(self.port), *(arguments or (folder / "count",))]
        super().__init__(command, self._ready, folder / "log", timeout=30.0)

    def ask(self, question: bytes, timeout: float = 10.0) -> int:
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            connection.sendall(question)
            return int(connection.recv(10))

    def _ready(self) -> bool:
        try:
            return self.ask(b"ping") >= 0
        except OSError:
            return False


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    server = Counter(tmp_path)
    server.start()
    yield server
    server.kill()


def test_it_answers_after_its_start_and_comes_back_after_a_kill(counter: Counter) -> None:
    """On the same port, with what it has stored."""
    assert counter.ask(b"count") == 1
    counter.restart()
    assert counter.ask(b"count") == 2
    counter.stop()
    with pytest.raises(OSError, match="refused"):
        counter.ask(b"count")
    counter.start()
    assert counter.ask(b"ping") == 2


def test_while_it_is_paused_nothing_answers(counter: Counter) -> None:
    """Its connections stay; what was asked meanwhile is answered afterwards."""
    counter.pause()
    with pytest.raises(TimeoutError):
        counter.ask(b"ping", timeout=0.2)
    counter.resume()
    assert counter.ask(b"ping") == 0


def test_what_cannot_be_done_says_why(counter: Counter) -> None:
    """A second start, a pause without a server; a second kill is harmless."""
    with pytest.raises(RuntimeError, match="is running; kill"):
        counter.start()
    counter.kill()
    counter.kill()
    for call in (counter.pause, counter.resume, counter.stop):
        with pytest.raises(RuntimeError, match="is not running; start"):
            call()


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    """And leaves no process."""
    broken = Counter(tmp_path, "/no/such/folder/count")
    with pytest.raises(RuntimeError, match=r"(?s)did not start:.*/no/such/folder/count"):
        broken.start()
    with pytest.raises(RuntimeError, match="is not running"):
        broken.pause()
