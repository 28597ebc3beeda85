"""HTTP for those who watch a worker: `/metrics`, `/livez`, `/readyz`.

It answers on a thread of its own, so that it still can when the event loop hangs. Import it only when a port is wanted:
`http.server` takes 40 ms.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit

from penstock import forks
from penstock.health import Health
from penstock.metrics import MetricsRegistry

log = logging.getLogger(__name__)

READ_TIMEOUT = 5.0  # seconds that a client may be silent
TOTAL_TIMEOUT = 10.0  # seconds that a connection may last: a client that sends a byte now and then is never silent
MAX_CONNECTIONS = 32  # at once; each has a thread, and watchers are few
POLL_INTERVAL = 0.2  # seconds until `stop` and the total timeout are noticed

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

    def start(self) -> int | None:
        """Begin to answer.

        Returns:
            The port; None, with a warning in the log, if it cannot be had: a worker does not fail for its metrics.
        """
        if self._server is not None:
            return self._server.port
        try:
            server = _Server(self._host, self._port, self._health, self._metrics)
        except (OSError, OverflowError) as error:  # OverflowError: no such port number
            log.warning(
                "health and metrics are not served: cannot listen on %s port %s: %s; choose another port, or none",
                self._host,
                self._port,
                error,
            )
            return None
        self._server = server
        # A child would keep the port, and every connection to it, for longer than the worker lives.
        self._forget = forks.on_child(server.close_in_child)
        self._thread = threading.Thread(
            target=server.serve_forever, args=(POLL_INTERVAL,), name="penstock-endpoints", daemon=True
        )
        self._thread.start()
        log.info("health and metrics on %s port %d: /livez, /readyz, /metrics", self._host, server.port)
        return server.port

    def stop(self) -> None:
        """Stop answering. Harmless if it never began."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._forget()
        self._server = self._thread = None


class _Server(ThreadingMixIn, TCPServer):
    """Accepts connections, few at a time, and ends those that last too long."""

    # Not http.server.HTTPServer: it asks DNS for our name before it listens.
    daemon_threads = True
    allow_reuse_address = True
    allow_reuse_port = False  # two workers on one port would each answer half of the questions

    def __init__(self, host: str, port: int, health: Health, metrics: MetricsRegistry) -> None:
        self.health = health
        self.metrics = metrics
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def close_in_child(self) -> None:
        """In a forked child: let go of the sockets, which the worker goes on with."""
        for connection in (self.socket, *self._open):
            connection.close()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            # Out of file descriptors, the connection stays in the queue: without a pause this loop would spin.
            time.sleep(POLL_INTERVAL)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                return False
            self._open[request] = time.monotonic() + TOTAL_TIMEOUT
            return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called after each poll."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, deadline in self._open.items() if deadline < now]
            for connection in late:
                # Under the lock it is not closed yet. Its thread wakes from its read or write with an error.
                del self._open[connection]
                _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("a client of the health and metrics endpoints went away", exc_info=True)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # the client was faster
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    timeout = READ_TIMEOUT
    server_version = "penstock"
    sys_version = ""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/livez":
            report = self.server.health.report()
            self._answer_json(report["alive"], report)
        elif path == "/readyz":
            report = self.server.health.report()
            self._answer_json(report["ready"], report)
        elif path == "/metrics":
            self._answer_metrics()
        else:
            self._answer(HTTPStatus.NOT_FOUND, TEXT, b"not found; there are /livez, /readyz and /metrics\n")

    do_HEAD = do_GET  # noqa: N815  (http.server's name)

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD\n", ("Allow", "GET, HEAD"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def _answer_json(self, good: bool, report: dict[str, Any]) -> None:
        body = json.dumps(report, indent=2).encode() + b"\n"
        self._answer(HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, JSON, body)

    def _answer_metrics(self) -> None:
        try:
            body, content_type = self.server.metrics.exposition()
        except Exception:  # whatever it is, the watcher gets an answer and the log the reason
            log.warning("the metrics cannot be shown", exc_info=True)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"the metrics cannot be shown; the log says why\n")
            return
        self._answer(HTTPStatus.OK, content_type, body)

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *headers,
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: a probe every few seconds would fill the log, and http.server writes to stderr."""
