"""Real requests to real sockets: what a probe, a scraper and a rude client get."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.observability.counting import EngineMetrics
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health
from penstock.observability.metric_definitions import RECEIVED
from penstock.worker import endpoints
from penstock.worker.endpoints import Endpoints

HOST = "127.0.0.1"


@pytest.fixture
def health() -> Health:
    """A registry that says ready."""
    health = Health()
    health.set_state("engine orders", "ok")
    return health


@pytest.fixture
def registry() -> MetricsRegistry:
    """Metrics without an engine."""
    return MetricsRegistry()


@pytest.fixture
def port(health: Health, registry: MetricsRegistry) -> Iterator[int]:
    """The port of endpoints that are up."""
    served = Endpoints(HOST, 0, health, registry)
    bound = served.start()
    assert bound is not None
    yield bound
    served.stop()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def cut_off_while_sending(client: socket.socket, header: bytes) -> bool:
    """Whether the server ends a connection on which a header follows the other, within 20 seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            client.sendall(header)
            if client.recv(1) == b"":
                return True
        except TimeoutError:
            continue  # the pause between two headers
        except ConnectionError:
            return True
    return False


def test_a_worker_that_works_is_ready_and_alive(port: int) -> None:
    """Both probes say 200, with all states as JSON."""
    for path in ("/readyz", "/livez"):
        status, headers, body = ask(port, path)

        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body)["components"]["engine orders"]["state"] == "ok"


def test_a_broker_that_is_away_makes_the_worker_not_ready_but_leaves_it_alive(port: int, health: Health) -> None:
    """An outage stops a rollout, with the reason; it does not restart the fleet."""
    health.set_state("input orders", "degraded", "broker-1:9092 refused the connection")

    ready, _, body = ask(port, "/readyz")
    alive, _, _ = ask(port, "/livez")

    assert (ready, alive) == (503, 200)
    assert json.loads(body)["components"]["input orders"]["reason"] == "broker-1:9092 refused the connection"


def test_a_worker_that_drains_is_not_ready(port: int, health: Health) -> None:
    """From SIGTERM on `/readyz` says 503, while `/livez` asks for time."""
    health.set_state("engine orders", "stopping")

    assert (ask(port, "/readyz")[0], ask(port, "/livez")[0]) == (503, 200)


def test_a_hung_loop_is_not_alive(health: Health, registry: MetricsRegistry) -> None:
    """`/livez` says 503 once a loop has not turned for its limit, and names it."""
    now = [0.0]
    health = Health(monotonic=lambda: now[0])
    health.heartbeat("event loop", limit=60.0)
    served = Endpoints(HOST, 0, health, registry)
    port = served.start()
    assert port is not None
    try:
        before = ask(port, "/livez")[0]
        now[0] = 61.0
        status, _, body = ask(port, "/livez")
    finally:
        served.stop()

    assert (before, status) == (200, 503)
    assert json.loads(body)["heartbeats"]["event loop"] == {"age_seconds": 61.0, "limit_seconds": 60.0, "late": True}


def test_it_answers_while_the_main_thread_is_busy(port: int) -> None:
    """The server has its own thread: a function that computes without end does not hide from its probe."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, port, "/livez")
        while not answer.done():
            sum(range(1000))

    assert answer.result()[0] == 200


def test_metrics_are_what_prometheus_reads(port: int, registry: MetricsRegistry) -> None:
    """The page parses, and has the engine's numbers."""
    metrics = EngineMetrics("shop", "orders", "kafka")
    metrics.count(RECEIVED, 7)
    registry.add(metrics)

    status, headers, body = ask(port, "/metrics")

    samples = {s.name: s.value for f in text_string_to_metric_families(body.decode()) for s in f.samples}
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert samples["penstock_messages_received_total"] == 7


def test_many_may_scrape_at_once_while_the_engine_counts(port: int, registry: MetricsRegistry) -> None:
    """Eight scrapers get whole pages, each not older than the one before, while two threads count."""
    metrics = EngineMetrics("shop", "orders", "kafka")
    registry.add(metrics)
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            metrics.count(RECEIVED, 1)
            metrics.function_time(0.001, 1)

    def scrape(_: int) -> float:
        status, _, body = ask(port, "/metrics")
        assert status == 200
        samples = {s.name: s.value for f in text_string_to_metric_families(body.decode()) for s in f.samples}
        return samples["penstock_messages_received_total"]

    counters = [threading.Thread(target=count) for _ in range(2)]
    for counter in counters:
        counter.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            rounds = [list(pool.map(scrape, range(8))) for _ in range(4)]
    finally:
        done.set()
        for counter in counters:
            counter.join()

    for earlier, later in pairwise(rounds):
        assert min(later) >= max(earlier)


def test_metrics_that_cannot_be_shown_are_an_answer_and_a_log_line(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    """The scraper gets 500 without details, the log the reason, and the probes go on."""

    class Broken(MetricsRegistry):
        def exposition(self) -> tuple[bytes, str]:
            raise RuntimeError("the reason")

    served = Endpoints(HOST, 0, health, Broken())
    port = served.start()
    assert port is not None
    try:
        with caplog.at_level(logging.WARNING, logger="penstock"):
            status, _, body = ask(port, "/metrics")
        alive = ask(port, "/livez")[0]
    finally:
        served.stop()

    assert (status, alive) == (500, 200)
    assert b"the reason" not in body
    assert "the reason" in caplog.text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/nothing"])
def test_head_has_the_headers_of_get_and_no_body(port: int, path: str) -> None:
    """Same status, same type, no body."""
    got, got_headers, _ = ask(port, path)

    status, headers, body = ask(port, path, "HEAD")

    assert (status, headers["content-type"], body) == (got, got_headers["content-type"], b"")
    assert int(headers["content-length"]) > 0


def test_a_query_does_not_matter(port: int) -> None:
    """Some scrapers add parameters."""
    assert ask(port, "/metrics?name[]=up")[0] == 200


@pytest.mark.parametrize("path", ["/", "/metricsx", "/metrics/", "/../etc/passwd", "/%2e%2e/etc/passwd", "*"])
def test_other_paths_are_not_found(port: int, path: str) -> None:
    """There is nothing else, and the answer does not repeat the question."""
    status, _, body = ask(port, path)

    assert (status, b"passwd" in body) == (404, False)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(port: int, method: str) -> None:
    """Nothing can be changed here."""
    status, headers, _ = ask(port, "/metrics", method)

    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_answers_are_not_stored_and_tell_nothing_of_python(port: int) -> None:
    """No cache keeps a state that is over, and no header says which version to attack."""
    _, headers, _ = ask(port, "/livez")

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "python" not in headers["server"].lower()


def test_requests_are_not_logged(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    """A probe every second writes nothing, neither do a wrong request and one broken off."""
    ask(port, "/livez")
    ask(port, "/nothing")
    with socket.create_connection((HOST, port), timeout=10) as client:
        client.sendall(b"\xff\x00 nonsense\r\n\r\n")
        client.recv(4096)
    with socket.create_connection((HOST, port), timeout=10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert ask(port, "/livez")[0] == 200

    assert capfd.readouterr() == ("", "")


def test_a_silent_client_hinders_no_other_client(port: int) -> None:
    """Who connects and says nothing, or half a line, waits alone."""
    with socket.create_connection((HOST, port)), socket.create_connection((HOST, port)) as half:
        half.sendall(b"GET /liv")

        assert ask(port, "/livez")[0] == 200


def test_a_client_that_dribbles_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is never silent, yet the connection has an end."""
    monkeypatch.setattr(endpoints, "TOTAL_TIMEOUT", 0.3)  # ten seconds are long for a test
    with socket.create_connection((HOST, port), timeout=0.02) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n")

        assert cut_off_while_sending(client, b"X-Slow: 1\r\n")


def test_half_open_connections_do_not_hide_the_probes(port: int) -> None:
    """More than there is room for, which say nothing, or not all: each probe is answered at once, and they give way."""
    half = [socket.socket() for _ in range(115)]
    try:
        for client in half:
            client.setblocking(False)
            client.connect_ex((HOST, port))
        time.sleep(0.5)  # until the server has met them
        for client in half[::2]:
            with suppress(OSError):  # it had to give way already
                client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        for path in ("/livez", "/readyz", "/metrics"):
            began = time.monotonic()
            assert ask(port, path)[0] == 200
            assert time.monotonic() - began < endpoints.TOTAL_TIMEOUT / 2
    finally:
        for client in half:
            client.close()


def test_a_client_that_reads_nothing_hinders_no_other_client(port: int, registry: MetricsRegistry) -> None:
    """A scrape of many series that is never read waits alone."""
    many = EngineMetrics("shop", "orders", "kafka", [f"queue-{number}-{'x' * 900}" for number in range(300)])
    registry.add(many)
    slow = [socket.create_connection((HOST, port), timeout=10) for _ in range(80)]
    try:
        for client in slow:
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")

        assert ask(port, "/livez")[0] == 200
    finally:
        for client in slow:
            client.close()


def test_large_headers_are_refused(port: int) -> None:
    """A request is a line and a few headers; what is larger is not read."""
    with socket.create_connection((HOST, port), timeout=10) as client:
        with suppress(OSError):
            client.sendall(b"GET /livez HTTP/1.1\r\n" + (b"X-Large: " + b"x" * 60_000 + b"\r\n") * 50 + b"\r\n")
        with suppress(ConnectionResetError):
            assert client.recv(12) in (b"HTTP/1.1 431", b"")

    assert ask(port, "/livez")[0] == 200


FLOOD = """
import socket, sys
while True:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
        client.sendall(b"GET /livez HTTP/1.1\\r\\n" + b"X: y\\r\\n" * 90 + b"\\r\\n")
        client.recv(100_000)
"""


def test_a_flood_costs_a_share_of_the_processor(port: int) -> None:
    """Requests as fast as they can be sent: the thread that answers them works a part of the time."""
    flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(port)])
    try:
        time.sleep(0.5)  # until it floods
        began, worked = time.monotonic(), time.process_time()
        time.sleep(1.5)
        share = (time.process_time() - worked) / (time.monotonic() - began)
        assert flood.poll() is None
    finally:
        flood.kill()
        flood.wait()

    assert share < 0.3
    assert ask(port, "/livez")[0] == 200


def test_many_scrapers_get_one_page_together(health: Health) -> None:
    """What a page costs is paid once for all who wait, not once for each; the probes do not wait for it."""
    made, begun, go = [0], threading.Event(), threading.Event()

    class Slow(MetricsRegistry):
        def exposition(self) -> tuple[bytes, str]:
            made[0] += 1
            begun.set()
            assert go.wait(30)
            return b"page\n", "text/plain"

    served = Endpoints(HOST, 0, health, Slow())
    port = served.start()
    assert port is not None
    try:
        with ThreadPoolExecutor(20) as pool:
            answers = [pool.submit(ask, port, "/metrics") for _ in range(20)]
            assert begun.wait(30)
            assert ask(port, "/livez")[0] == 200
            time.sleep(0.3)  # until all have asked
            go.set()
            assert {answer.result()[2] for answer in answers} == {b"page\n"}
    finally:
        go.set()
        served.stop()

    assert made[0] <= 3


def test_a_taken_port_is_a_warning_and_the_worker_goes_on(
    port: int, health: Health, registry: MetricsRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """The second worker on a host runs without metrics, and its log names the port and the way out."""
    second = Endpoints(HOST, port, health, registry)

    with caplog.at_level(logging.WARNING, logger="penstock"):
        bound = second.start()
    second.stop()

    assert bound is None
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert f"{HOST} port {port}" in record.getMessage()
    assert "choose another port" in record.getMessage()
    assert "--metrics-port PORT, or 'metrics_port' under 'worker' (0: any free one; none)" in record.getMessage()
    assert ask(port, "/livez")[0] == 200


@pytest.mark.parametrize(("host", "port"), [(HOST, 70_000), (HOST, -1), ("203.0.113.7", 0), ("no host", 0)])
def test_an_impossible_address_is_a_warning_too(
    host: str, port: int, health: Health, registry: MetricsRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Not a port number, an address of another machine, not an address: a warning each time, never a crash."""
    with caplog.at_level(logging.WARNING, logger="penstock"):
        bound = Endpoints(host, port, health, registry).start()

    assert bound is None
    assert len(caplog.records) == 1


def test_it_listens_where_it_was_told_and_nowhere_else(health: Health, registry: MetricsRegistry) -> None:
    """On 127.0.0.1 it does not answer at another address of this machine."""
    served = Endpoints(HOST, 0, health, registry)
    port = served.start()
    assert port is not None
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=10)
    finally:
        served.stop()


def test_it_listens_on_ipv6(health: Health, registry: MetricsRegistry) -> None:
    """`::1` is an address like any other."""
    served = Endpoints("::1", 0, health, registry)
    port = served.start()
    if port is None:
        pytest.skip("this machine has no IPv6")
    try:
        with socket.create_connection(("::1", port), timeout=10) as client:
            client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            answer = client.makefile("rb").readline()
    finally:
        served.stop()

    assert answer.split()[1] == b"200"


def test_after_stop_the_port_is_free_again(health: Health, registry: MetricsRegistry) -> None:
    """Nothing listens any more, its thread is gone, and a new worker can have the port."""
    first = Endpoints(HOST, 0, health, registry)
    port = first.start()
    assert port is not None
    assert ask(port, "/livez")[0] == 200
    first.stop()

    with pytest.raises(ConnectionRefusedError):
        ask(port, "/livez")
    assert not [thread for thread in threading.enumerate() if thread.name == "penstock-endpoints"]
    second = Endpoints(HOST, port, health, registry)
    try:
        assert second.start() == port
        assert ask(port, "/livez")[0] == 200
    finally:
        second.stop()


def test_stop_does_not_wait_for_a_silent_client(health: Health, registry: MetricsRegistry) -> None:
    """A worker that ends is not held up by who watches it."""
    served = Endpoints(HOST, 0, health, registry)
    port = served.start()
    assert port is not None
    with socket.create_connection((HOST, port)):
        assert ask(port, "/livez")[0] == 200
        began = time.monotonic()

        served.stop()

    assert time.monotonic() - began < endpoints.TOTAL_TIMEOUT


def test_starting_twice_and_stopping_twice_is_harmless(health: Health, registry: MetricsRegistry) -> None:
    """The second start tells the same port; a stop without a start does nothing."""
    served = Endpoints(HOST, 0, health, registry)
    served.stop()

    port = served.start()
    again = served.start()
    served.stop()
    served.stop()

    assert port == again


def test_a_worker_can_end_without_stopping_it() -> None:
    """Its threads are daemons: a crash in the worker is not turned into a hang."""
    code = (
        "from penstock.observability.health import Health\n"
        "from penstock.observability.exposition import MetricsRegistry\n"
        "from penstock.worker.endpoints import Endpoints\n"
        "print(Endpoints('127.0.0.1', 0, Health(), MetricsRegistry()).start() > 0)\n"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (result.stdout.strip(), result.returncode, result.stderr) == ("True", 0, "")
