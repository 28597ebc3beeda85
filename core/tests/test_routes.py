"""The routes of a worker's port: the report at `/status`, and routes of programs and plugins."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.distributions import install_only, plugin

from penstock.builtin.timeout import Timeout
from penstock.config.files import load
from penstock.config.model import EngineSettings
from penstock.config.resolve import registry_for, resolve_queue
from penstock.config.routes import configured_routes
from penstock.engine import Engine
from penstock.errors import ConfigError
from penstock.observability.counting import EngineMetrics
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health
from penstock.pipeline.extensions import Extensions
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.routes import Report, Response, Route, json_response
from penstock.worker.endpoints import Endpoints
from penstock.worker.status import EngineStatus
from penstock.worker.worker import Worker

from .engine_fixture import EngineFixture, drain, settings


def ask(port: int, path: str) -> tuple[int, str, bytes]:
    """Status, content type and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers["content-type"], response.read()
    finally:
        connection.close()


class Served:
    """Endpoints that are up, with some routes."""

    def __init__(self, *routes: Route) -> None:
        self._endpoints = Endpoints(
            "127.0.0.1", 0, Health(), MetricsRegistry(), report=lambda: {"engines": 2}, routes=routes
        )

    def __enter__(self) -> int:
        port = self._endpoints.start()
        assert port is not None
        return port

    def __exit__(self, *_: object) -> None:
        self._endpoints.stop()


def engines(report: Report) -> Response:
    """Something of the report."""
    return json_response(report()["engines"])


def test_a_route_answers_beside_the_built_in_ones() -> None:
    """On its path, with its type; it may call for the report."""
    with Served(Route("/my/page", lambda _report: Response(b"<p>", "text/html")), Route("/n", engines)) as port:
        assert ask(port, "/my/page?x=1") == (200, "text/html", b"<p>")
        assert ask(port, "/n") == (200, "application/json", b"2\n")
        assert json.loads(ask(port, "/status")[2]) == {"engines": 2}
        assert b"/status, /my/page, /n" in ask(port, "/nothing")[2]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("wrong", ["raises", "returns"])
def test_a_route_that_fails_is_an_answer_and_a_log_line(
    quick: bool, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """500 without details for the client, the reason in the log; the other routes go on."""

    def fails(_report: Report) -> Any:
        if wrong == "raises":
            raise RuntimeError("the reason")
        return "the reason"

    with caplog.at_level(logging.WARNING, logger="penstock"), Served(Route("/fails", fails, quick=quick)) as port:
        status, _, body = ask(port, "/fails")
        alive = ask(port, "/livez")[0]

    assert (status, alive) == (500, 200)
    assert b"the reason" not in body
    told = "the reason" if wrong == "raises" else "returned a str instead of a penstock.routes.Response"
    assert told in caplog.text


def test_a_route_that_hangs_holds_up_no_other() -> None:
    """Each has a thread of its own."""
    asked, release = threading.Event(), threading.Event()

    def hangs(_report: Report) -> Response:
        asked.set()
        release.wait(30)
        return Response(b"late\n")

    with Served(Route("/hangs", hangs)) as port:
        answers: list[tuple[int, str, bytes]] = []
        client = threading.Thread(target=lambda: answers.append(ask(port, "/hangs")))
        client.start()
        try:
            assert asked.wait(20)
            assert ask(port, "/metrics")[0] == 200
            assert ask(port, "/status")[0] == 200
        finally:
            release.set()
            client.join()

    assert answers[0][2] == b"late\n"


@pytest.mark.parametrize("path", ["orders", "/", "", "/a b", "/a?b", "/a\r\nX: y", "/ä"])
def test_what_is_not_a_path_is_refused(path: str) -> None:
    """Where it is written."""
    with pytest.raises(ConfigError, match="write a path such as"):
        Route(path, engines)


def test_two_routes_of_one_path_are_refused() -> None:
    """A built-in one is not replaced in silence."""
    with pytest.raises(ConfigError, match="route '/livez' is there twice"):
        Served(Route("/livez", engines))


def test_the_report_tells_of_engines_queues_settings_counters_and_health() -> None:
    """Plain data that JSON can say; a queue's options are left out."""
    stand = EngineFixture()
    stand.put(b"1", b"2", b"x")
    configuration = {
        "queues": [stand.memory("in"), stand.memory("out"), stand.raw("dead")],
        "engine": {"middleware": [{"name": "timeout", "seconds": 9}], "concurrency": 2},
    }
    app = Engine("in", ["out"], "till", "dead", configuration, middleware=[Timeout(seconds=8)])
    app.resource(db)
    app.stream_app(lambda number: ("out", number))

    worker = drain(app)

    report = json.loads(json.dumps(worker.report()))
    assert report.keys() == {
        "version", "pid", "started", "uptime_seconds", "ready", "alive", "components", "heartbeats", "settings",
        "engines",
    }  # fmt: skip
    assert report["settings"]["shutdown_timeout"] == 5.0
    (engine,) = report["engines"]
    assert engine["name"] == "till"
    assert engine["settings"]["concurrency"] == 2
    assert engine["middleware"] == ["{name: timeout, seconds: 9}", "Timeout {seconds: 8.0, end_worker: no}"]
    assert engine["resources"] == ["db"]
    assert engine["input_queue"] == {
        "name": "in", "value": "in", "connector": "memory", "serializer": "JsonSerializer",
        "model_handler": "PydanticModelHandler", "data_model": "typing.Any", "batch": False,
    }  # fmt: skip
    assert [each["name"] for each in engine["output_queues"]] == ["out"]
    assert engine["dead_letter_queue"]["serializer"] is None
    metrics = engine["metrics"]
    assert metrics["penstock_messages_received_total"] == 3
    assert metrics["penstock_messages_settled_total"]["succeeded"] == 2
    assert metrics["penstock_messages_in_flight"] == 0
    assert metrics["penstock_function_seconds"]["count"] == 3
    assert report["components"]["engine till"]["state"] == "stopping"


def test_the_report_of_a_worker_that_has_not_begun_has_no_engines() -> None:
    """It may be asked at any time."""
    assert Worker([EngineFixture().engine(lambda _number: None)], settings()).report()["engines"] == []


def test_the_report_masks_the_secrets_of_middleware() -> None:
    """By the words that make a key a secret."""
    engine = EngineSettings(middleware=[{"name": "acme", "api_key": "geheim"}])

    counters = EngineMetrics("app", "in", "memory")
    told = EngineStatus("f", [resolved("in")], None, engine, counters, Extensions(())).report()

    assert told["middleware"] == ["{name: acme, api_key: ********}"]


def db() -> str:
    """A resource."""
    return "DB"


def resolved(name: str) -> ResolvedQueue:
    """A queue in memory."""
    configuration = load([EngineFixture().memory(name)])
    return resolve_queue(configuration, name, "input", registry=registry_for(configuration))


DASHBOARD = """
from penstock.hookspecs import hookimpl
from penstock.specs import RouteSpec

PLUGIN_API = 1

@hookimpl
def penstock_routes():
    return [RouteSpec("dashboard", "/dashboard", "acme_dashboard.page:page", summary="a page for people")]
"""
PAGE = """
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.routes import Response

def page(report):
    return Response(b"<h1>")
"""


def test_a_plugin_s_route_is_named_in_the_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Being installed opens nothing. An unknown name is answered with the nearest one."""
    install_only(monkeypatch, tmp_path, plugin("acme-dashboard", "dashboard", DASHBOARD, modules={"page.py": PAGE}))
    configuration = load({"queues": {"in": {}}, "worker": {"routes": ["dashboard", "dashbord"]}})

    (route,), (problem,) = configured_routes(configuration, registry_for(configuration))

    assert route.path == "/dashboard"
    assert route.answer(dict).body == b"<h1>"
    assert str(problem).startswith("worker: route 'dashbord': nothing that is installed offers one of this name; ")
    assert problem.text.endswith("did you mean 'dashboard'?")


def test_engines_of_one_configuration_bring_its_routes_once() -> None:
    """And their own beside them."""
    app, other = (Engine("in", queue_config={"in": {}}) for _ in range(2))
    app.route("/engines")(engines)
    other.route("/engines")(engines)
    other.route("/others")(engines)

    with Served(*app.routes, *other.routes) as port:
        assert ask(port, "/engines")[0] == 200
        assert ask(port, "/others")[0] == 200
