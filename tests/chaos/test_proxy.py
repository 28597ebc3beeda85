"""The proxy's faults are what they are called, on real sockets."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.waiting import wait_for
from tests.servers.proxy import Proxy

ANSWER_WITHIN = 20.0  # seconds
SILENT_FOR = 0.3  # seconds without an answer that would be there at once


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with Echo(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Answer(socketserver.BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(100):
                self.request.sendall(data)


class Echo(socketserver.ThreadingTCPServer):
    """A thread for each connection, which ends with it."""

    daemon_threads = True


def ask(connection: socket.socket, timeout: float = ANSWER_WITHIN) -> bytes:
    """Send a byte and read the answer."""
    connection.settimeout(timeout)
    connection.sendall(b"x")
    return connection.recv(1)


def connect(proxy: Proxy) -> socket.socket:
    """A connection through the proxy that works."""
    connection = socket.create_connection((proxy.host, proxy.port), ANSWER_WITHIN)
    assert ask(connection) == b"x"
    return connection


def test_a_half_open_connection_is_silent_and_new_ones_work(echo: int, proxy: Callable[..., Proxy]) -> None:
    """The client is told nothing; `heal` does not tell it either."""
    wire = proxy("127.0.0.1", echo)
    with connect(wire) as old:
        wire.half_open()
        with pytest.raises(TimeoutError):
            ask(old, SILENT_FOR)
        with connect(wire) as new:
            assert ask(new) == b"x"
            wire.heal()
            assert ask(new) == b"x"
        with pytest.raises(TimeoutError):
            ask(old, SILENT_FOR)
    assert wait_for(lambda: wire.connections == 0)


def test_a_reset_ends_connections_and_new_ones_work(echo: int, proxy: Callable[..., Proxy]) -> None:
    """At once, without `heal`."""
    wire = proxy("127.0.0.1", echo)
    with connect(wire) as old:
        wire.reset()
        with pytest.raises(ConnectionError):
            ask(old)
        connect(wire).close()
