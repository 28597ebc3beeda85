"""The HTTP port of a worker: `/livez`, `/readyz`, `/metrics`, `/status`, and routes of programs and plugins.

It answers on a thread of its own, so that it answers even when the event loop hangs. What clients may cost is limited:
connections, bytes and time of a request, and a share of the processor. It reads the request line and ignores headers.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol

from penstock.errors import ConfigError
from penstock.queues import forks
from penstock.routes import Report, Response, Route, json_response
from penstock.worker.pages import PageMaker, response_of

log = logging.getLogger("penstock")

TOTAL_TIMEOUT = 10.0  # seconds that a connection may last, from its begin to the last byte of its response
MAX_CONNECTIONS = 64  # at once; past that the oldest one that has not asked yet is closed for a new one
MAX_REQUEST = 8_192  # bytes of a request line and its headers
REST = 4  # times as long as it worked, the thread rests after each turn: a flood gets a fifth of a core at most
LONGEST_REST = 0.1  # seconds
POLL_INTERVAL = 0.2  # seconds until `stop` and the total timeout are noticed
BACKLOG = 128  # connections that the system holds until they are accepted


class Reports(Protocol):
    """What knows how a worker is."""

    def report(self) -> dict[str, Any]:
        """See `Health.report`."""


class Exposes(Protocol):
    """What has the metrics of a worker."""

    def exposition(self) -> tuple[bytes, str]:
        """See `MetricsRegistry.exposition`."""


class Endpoints:
    """Serves one worker's routes.

    Start it first and stop it last: `/readyz` must be answered while the worker drains.

    Args:
        host: Address to listen on. 127.0.0.1 unless the configuration says otherwise: there is no authentication.
        port: Port; 0 takes a free one.
        health: The states of the worker's components, or of its processes.
        metrics: The worker's metrics, or those of its processes.
        report: Makes what `/status` shows; by default what `/readyz` shows.
        routes: More of them.

    Raises:
        ConfigError: two routes have one path.
    """

    def __init__(
        self,
        host: str,
        port: int,
        health: Reports,
        metrics: Exposes,
        report: Report | None = None,
        routes: Iterable[Route] = (),
    ) -> None:
        self._host = host
        self._port = port
        self._report = report or health.report
        self._routes = _table([*_builtin_routes(health, metrics), *routes])
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._forget: Callable[[], None] | None = None

    def start(self) -> int | None:
        """Begin to answer.

        Returns:
            The port; None, with a warning in the log, if it is not free: a worker does not fail for its metrics.
        """
        if self._server is not None:
            return self._server.port
        try:
            listener = _listen(self._host, self._port)
        except (OSError, OverflowError) as error:  # OverflowError: no such port number
            log.warning(
                "health and metrics are not served: cannot listen on %s port %s: %s; choose another port for each "
                "worker of a machine: --metrics-port PORT, or 'metrics_port' under 'worker' (0: any free one; none)",
                self._host,
                self._port,
                error,
            )
            return None
        self._server = server = _Server(listener, self._routes, self._report)
        # A forked child would keep the port, and every connection to it, for longer than the worker lives.
        self._forget = forks.on_child(server.close_in_child)
        self._thread = threading.Thread(target=server.serve, name="penstock-endpoints", daemon=True)
        self._thread.start()
        return server.port

    @property
    def serves(self) -> str | None:
        """`health and metrics on 127.0.0.1 port 3000: /livez, /readyz, …`; None if it does not answer."""
        if self._server is None:
            return None
        return f"health and metrics on {self._host} port {self._server.port}: {', '.join(self._routes)}"

    def stop(self) -> None:
        """Stop answering; does nothing if it never began."""
        if self._server is None or self._thread is None or self._forget is None:
            return
        self._server.stop()
        self._thread.join()
        self._forget()
        self._server = self._thread = self._forget = None


def _builtin_routes(health: Reports, metrics: Exposes) -> list[Route]:
    def probe(key: str) -> Response:
        report = health.report()
        return json_response(report, HTTPStatus.OK if report[key] else HTTPStatus.SERVICE_UNAVAILABLE)

    return [
        Route("/livez", lambda _report: probe("alive"), quick=True),
        Route("/readyz", lambda _report: probe("ready"), quick=True),
        Route("/metrics", lambda _report: Response(*metrics.exposition())),
        Route("/status", lambda report: json_response(report())),
    ]


def _table(routes: Iterable[Route]) -> dict[str, Route]:
    table: dict[str, Route] = {}
    for route in routes:
        # Engines of one configuration bring its routes once each.
        if table.setdefault(route.path, route) != route:
            raise ConfigError(f"route {route.path!r} is there twice; give one of them another path")
    return table


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
    """One request and its response.

    Attributes:
        deadline: When it ends at the latest, by `monotonic`.
        asked: Whether the whole request has been read.
        request, answer: Bytes that were received; bytes to be sent, None before there is a response.
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

    def __init__(self, listener: socket.socket, routes: Mapping[str, Route], report: Report) -> None:
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        self._routes = routes
        self._report = report
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, _Connection] = {}  # the oldest first
        self._stopped = False
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._pages = {route.path: PageMaker(route, report, self._wake) for route in routes.values() if not route.quick}
        self._waiting: list[tuple[PageMaker, int, _Connection]] = []  # with the number of the page that is waited for
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopped = True
        self._wake()

    def close_in_child(self) -> None:
        """In a forked child: close its copies of the sockets; the worker goes on with its own."""
        for connection in (self._listener, self._woken, self._waker, *self._open):
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
            for page in self._pages.values():
                page.close()
            for connection in tuple(self._open.values()):
                self._close(connection)
            self._selector.close()
            for each in (self._listener, self._woken, self._waker):
                each.close()

    def _wake(self) -> None:
        with suppress(OSError):  # it is awake already, or closed
            self._waker.send(b"x")

    def _handle(self, ready: object) -> None:
        if ready is self._listener:
            self._accept()
        elif ready is self._woken:
            self._woken.recv(4096)
            self._send_pages()
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
        elif (page := self._pages.get(path)) is not None:
            connection.asked = True
            self._selector.unregister(connection.socket)
            self._waiting.append((page, page.ask(), connection))
        elif (route := self._routes.get(path)) is not None:
            self._send(connection, response_of(route, self._report))
        else:
            text = f"not found; there are {', '.join(self._routes)}\n"
            self._send(connection, Response(text.encode(), status=HTTPStatus.NOT_FOUND))

    def _send_pages(self) -> None:
        """Send the pages that are ready to the clients that wait for them."""
        waiting, self._waiting = self._waiting, []
        for page, wanted, connection in waiting:
            if connection.socket not in self._open:
                continue  # it has waited too long
            made = page.take()
            if made is None or wanted > made[0]:
                self._waiting.append((page, wanted, connection))
            else:
                self._selector.register(connection.socket, selectors.EVENT_WRITE)
                self._send(connection, made[1])

    def _send(self, connection: _Connection, response: Response, header: str = "") -> None:
        status, body = response.status, response.body
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: penstock\r\nContent-Type: {response.content_type}\r\n"
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
                # If something that the client still sends was left unread, the system would drop the response.
                connection.socket.recv(65_536)
            self._close(connection)

    def _end_late(self) -> None:
        now = time.monotonic()
        while (oldest := next(iter(self._open.values()), None)) is not None and oldest.deadline < now:
            self._close(oldest)

    def _close(self, connection: _Connection) -> None:
        self._open.pop(connection.socket, None)
        with suppress(KeyError, ValueError):  # it waits for a page
            self._selector.unregister(connection.socket)
        connection.socket.close()


_NOT_ALLOWED = Response(b"only GET and HEAD\n", status=HTTPStatus.METHOD_NOT_ALLOWED)
_BAD = Response(b"not an HTTP request\n", status=HTTPStatus.BAD_REQUEST)
_TOO_LARGE = Response(b"the request is too large\n", status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
