"""HTTP for those who watch a worker: `/metrics`, `/livez`, `/readyz`.

It answers on a thread of its own, so that it still can when the event loop hangs. What it spends on clients is bounded:
connections, bytes and time of a request, and a share of the processor. It reads the request line and ignores headers.
"""

from __future__ import annotations

import json
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from penstock.observability.health import Health
from penstock.observability.metrics import MetricsRegistry
from penstock.queues import forks
from penstock.worker.scrapes import Answer, Scrapes

log = logging.getLogger(__name__)

TOTAL_TIMEOUT = 10.0  # seconds that a connection may last, from its begin to the last byte of its answer
MAX_CONNECTIONS = 64  # at once; past that the oldest one that has not asked yet gives way to a new one
MAX_REQUEST = 8_192  # bytes of a request line and its headers
REST = 4  # times as long as it worked the thread rests after each turn: a flood gets a fifth of a core at most
LONGEST_REST = 0.1  # seconds
POLL_INTERVAL = 0.2  # seconds until `stop` and the total timeout are noticed
BACKLOG = 128  # connections that the system holds until they are accepted

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Endpoints:
    """Serves one worker's health and metrics.

    Start it first and stop it last: while the worker drains, `/readyz` must say so.

    Args:
        host: Address to listen on. 127.0.0.1 unless the configuration says otherwise: there is no authentication.
        port: Port; 0 takes a free one.
        health: The worker's board.
        metrics: The worker's metrics.
    """

    def __init__(self, host: str, port: int, health: Health, metrics: MetricsRegistry) -> None:
        self._host = host
        self._port = port
        self._health = health
        self._metrics = metrics
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._forget: Callable[[], None] | None = None

    def start(self) -> int | None:
        """Begin to answer.

        Returns:
            The port; None, with a warning in the log, if it cannot be had: a worker does not fail for its metrics.
        """
        if self._server is not None:
            return self._server.port
        try:
            listener = _listen(self._host, self._port)
        except (OSError, OverflowError) as error:  # OverflowError: no such port number
            log.warning(
                "health and metrics are not served: cannot listen on %s port %s: %s; choose another port, or none",
                self._host,
                self._port,
                error,
            )
            return None
        self._server = server = _Server(listener, self._health, self._metrics)
        # A child would keep the port, and every connection to it, for longer than the worker lives.
        self._forget = forks.on_child(server.close_in_child)
        self._thread = threading.Thread(target=server.serve, name="penstock-endpoints", daemon=True)
        self._thread.start()
        log.info("health and metrics on %s port %d: /livez, /readyz, /metrics", self._host, server.port)
        return server.port

    def stop(self) -> None:
        """Stop answering. Harmless if it never began."""
        if self._server is None or self._thread is None or self._forget is None:
            return
        self._server.stop()
        self._thread.join()
        self._forget()
        self._server = self._thread = self._forget = None


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class _Connection:
    """One request and its answer.

    Attributes:
        deadline: When it ends at the latest, by `monotonic`.
        asked: Whether its request is whole, and has been read.
        request, answer: Bytes that came, bytes that are still to be sent; None before there is an answer.
    """

    __slots__ = ("answer", "asked", "deadline", "head", "request", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.deadline = time.monotonic() + TOTAL_TIMEOUT
        self.asked = False
        self.head = False
        self.request = bytearray()
        self.answer: memoryview | None = None


class _Server:
    """Answers on one thread, without ever waiting for a client."""

    def __init__(self, listener: socket.socket, health: Health, metrics: MetricsRegistry) -> None:
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        self._health = health
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, _Connection] = {}  # the oldest first
        self._stopped = False
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._scrapes = Scrapes(metrics, self._ring)
        self._waiting: list[tuple[int, _Connection]] = []  # for metrics: the page that will do
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopped = True
        self._ring()

    def close_in_child(self) -> None:
        """In a forked child: let go of the sockets, which the worker goes on with."""
        for connection in (self._listener, self._bell, self._button, *self._open):
            connection.close()

    def serve(self) -> None:
        """Answer until `stop`."""
        try:
            while not self._stopped:
                ready = self._selector.select(POLL_INTERVAL)
                began = time.thread_time()
                for key, _events in ready:
                    self._handle(key.fileobj)
                self._end_late()
                # A flood of requests must not cost the engines more than a share of the processor.
                time.sleep(min(LONGEST_REST, REST * (time.thread_time() - began)))
        finally:
            self._scrapes.close()
            for connection in tuple(self._open.values()):
                self._close(connection)
            self._selector.close()
            for each in (self._listener, self._bell, self._button):
                each.close()

    def _ring(self) -> None:
        with suppress(OSError):  # it is rung already, or over
            self._button.send(b"!")

    def _handle(self, ready: object) -> None:
        if ready is self._listener:
            self._accept()
        elif ready is self._bell:
            self._bell.recv(4096)
            self._answer_scrapes()
        elif isinstance(ready, socket.socket) and (connection := self._open.get(ready)) is not None:
            try:
                self._read(connection) if not connection.asked else self._write(connection)
            except BlockingIOError:
                return
            except OSError:  # the client went away
                self._close(connection)

    def _accept(self) -> None:
        try:
            connected, _address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            # Out of file descriptors, the connection stays in the queue: without a pause this loop would spin.
            time.sleep(POLL_INTERVAL)
            return
        connected.setblocking(False)
        if len(self._open) >= MAX_CONNECTIONS:
            # A probe asks at once, so the one that has been silent the longest is not one.
            silent = (each for each in self._open.values() if not each.asked)
            self._close(next(silent, next(iter(self._open.values()))))
        self._open[connected] = _Connection(connected)
        self._selector.register(connected, selectors.EVENT_READ)

    def _read(self, connection: _Connection) -> None:
        data = connection.socket.recv(MAX_REQUEST)
        if not data:
            self._close(connection)
            return
        request = connection.request
        request += data
        if b"\r\n\r\n" in request or b"\n\n" in request:
            self._ask(connection, bytes(request[:MAX_REQUEST]).partition(b"\n")[0])
        elif len(request) > MAX_REQUEST:
            self._send(connection, _TOO_LARGE)

    def _ask(self, connection: _Connection, line: bytes) -> None:
        words = line.decode("latin-1").split()
        if len(words) not in (2, 3):
            self._send(connection, _BAD)
            return
        method, path = words[0], words[1].partition("?")[0]
        connection.head = method == "HEAD"
        if method not in ("GET", "HEAD"):
            self._send(connection, _NOT_ALLOWED, "Allow: GET, HEAD\r\n")
        elif path == "/metrics":
            connection.asked = True
            self._selector.unregister(connection.socket)
            self._waiting.append((self._scrapes.ask(), connection))
        elif path in ("/livez", "/readyz"):
            report = self._health.report()
            good = report["alive" if path == "/livez" else "ready"]
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(connection, (status, JSON, json.dumps(report, indent=2).encode() + b"\n"))
        else:
            self._send(connection, _NOT_FOUND)

    def _answer_scrapes(self) -> None:
        """Give those who wait for metrics what has been made for them."""
        if (page := self._scrapes.take()) is None:
            return
        number, answer = page
        waiting, self._waiting = self._waiting, []
        for wanted, connection in waiting:
            if connection.socket not in self._open:
                continue  # it has waited too long
            if wanted > number:
                self._waiting.append((wanted, connection))
            else:
                self._selector.register(connection.socket, selectors.EVENT_WRITE)
                self._send(connection, answer)

    def _send(self, connection: _Connection, answer: Answer, header: str = "") -> None:
        status, content_type, body = answer
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: penstock\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{header}"
            f"Connection: close\r\n\r\n"
        )
        connection.asked = True
        connection.answer = memoryview(head.encode() + (b"" if connection.head else body))
        self._selector.modify(connection.socket, selectors.EVENT_WRITE)

    def _write(self, connection: _Connection) -> None:
        answer = connection.answer
        if answer is None:
            return
        connection.answer = answer[connection.socket.send(answer) :]
        if not connection.answer:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
                # What the client still sends would otherwise make the system throw the answer away.
                connection.socket.recv(65_536)
            self._close(connection)

    def _end_late(self) -> None:
        now = time.monotonic()
        while (oldest := next(iter(self._open.values()), None)) is not None and oldest.deadline < now:
            self._close(oldest)

    def _close(self, connection: _Connection) -> None:
        self._open.pop(connection.socket, None)
        with suppress(KeyError, ValueError):  # it waits for metrics
            self._selector.unregister(connection.socket)
        connection.socket.close()


_NOT_FOUND = (HTTPStatus.NOT_FOUND, TEXT, b"not found; there are /livez, /readyz and /metrics\n")
_NOT_ALLOWED = (HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD\n")
_BAD = (HTTPStatus.BAD_REQUEST, TEXT, b"not an HTTP request\n")
_TOO_LARGE = (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, TEXT, b"the request is too large\n")
