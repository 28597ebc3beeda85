"""A worker: several engines in one process, started, supervised, drained and stopped in order; and real signals."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, running, settings, until
from core.tests.scripted import Sink, Source

from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected, PenstockError
from penstock.worker.worker import Worker


def nothing(message: Any) -> None:
    """A function."""


# -- several engines


def test_several_engines_share_a_worker(stand: EngineFixture) -> None:
    """Each with its own queues, all at work at once."""
    stand.numbers(50)
    first = stand.engine(lambda number: ("between", number + 1), ["between"], app_name="first")
    second = stand.engine(
        lambda number: ("out", number * 2), app_name="second", input_queue="between", source=stand.memory("between")
    )

    drain(first, second)

    assert stand.bodies() == [b"%d" % ((number + 1) * 2) for number in range(50)]


def test_one_engine_that_fails_stops_the_others_in_order(stand: EngineFixture) -> None:
    """What they have begun is finished and settled; the error is that of the one that failed."""
    begun, go = threading.Event(), threading.Event()
    healthy, broken = Source([b"1", b"2"]), Source([b"1"], lag=[None, None])
    sink = Sink()

    def slow(number: int) -> Any:
        begun.set()
        assert go.wait(30)
        return "out", number

    def trip(number: int) -> None:
        assert begun.wait(30)

    broken.steps["on_success"] = deque([FatalConnectorError("fenced")])

    async def main() -> None:
        first = stand.engine(slow, app_name="first", source=healthy.queue(), targets=[sink.queue()])
        second = stand.engine(trip, [], app_name="second", source=broken.queue())
        async with running(first, second) as run:
            await until(lambda: broken.count("shutdown"))
            assert healthy.count("shutdown") == 0
            go.set()
            with pytest.raises(FatalConnectorError, match="fenced"):
                await run.ended()

    asyncio.run(main())

    assert (sink.bodies, healthy.settled()) == ([b"1"], [b"1"])
    assert healthy.count("shutdown") == sink.count("shutdown") == 1


def test_the_errors_of_all_engines_are_told(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """One is raised, the others are in the log: which fails first is for the threads to decide."""
    sources = [Source(connect=[FatalConnectorError(f"no {n}")]) for n in range(2)]
    engines = [stand.engine(nothing, [], app_name=f"{n}", source=sources[n].queue()) for n in range(2)]

    with pytest.raises(FatalConnectorError) as raised:
        drain(*engines)

    told = [text for text in (str(raised.value), caplog.text) for n in range(2) if f"no {n}" in text]
    assert len(told) == 2
    assert ("no 0" in caplog.text) is ("no 1" in str(raised.value))


def test_health_has_a_line_for_each_engine_and_role(stand: EngineFixture) -> None:
    """A queue that is one's output and another's input, away for one of them only, is seen."""
    away = [NotConnected("away for the reader", retry_after=60)]
    source = Source(connect=away)
    sink = Sink()

    async def main() -> None:
        first = stand.engine(
            lambda number: ("shared", number), ["shared"], app_name="first", targets=[sink.queue("shared")]
        )
        second = stand.engine(nothing, [], app_name="second", input_queue="shared", source=source.queue("shared"))
        async with running(first, second, connect_timeout=60) as run:
            await until(lambda: source.count("connect") and sink.count("connect"))
            states = run.worker.health.report()["components"]
            assert states["engine first: output shared"]["state"] == "ok"
            assert states["engine second: input shared"]["state"] == "degraded"
            assert states["engine second: input shared"]["reason"] == "away for the reader"
            assert not run.worker.health.ready()

    asyncio.run(main())


# -- starting


def test_a_broker_that_is_away_at_the_start_is_waited_for_and_then_named(stand: EngineFixture) -> None:
    """Retried for connect_timeout, then a clear error; what was open already is closed."""
    source, sink = Source([b"1"]), Sink(connect=[NotConnected("no route to host")] * 1_000)

    started = time.monotonic()
    with pytest.raises(NotConnected) as caught:
        drain(stand.engine(nothing, source=source.queue(), targets=[sink.queue()]), connect_timeout=0.5)

    assert 0.5 <= time.monotonic() - started < 3
    assert str(caught.value) == (
        "queue 'out', ScriptedProducer: no route to host; given up after 0.5 s (worker: connect_timeout)"
    )
    assert sink.count("connect") >= 2
    assert source.count("consume") == 0
    assert source.count("shutdown") == sink.count("shutdown") == 1


def test_a_stop_while_a_broker_is_waited_for_works_at_once(stand: EngineFixture) -> None:
    """It then ends without waiting for connect_timeout, and without an error."""
    source = Source(connect=[NotConnected("away", retry_after=60)])

    async def main() -> None:
        async with running(stand.engine(nothing, [], source=source.queue()), connect_timeout=60) as run:
            await until(lambda: source.count("connect"))
            started = time.monotonic()
            await run.stop()
            assert time.monotonic() - started < 0.5

    asyncio.run(main())


def test_nothing_is_opened_when_one_engine_is_misconfigured(stand: EngineFixture) -> None:
    """All are built before one is run."""
    source = Source([b"1"])

    with pytest.raises(ConfigError):
        drain(stand.engine(nothing, [], source=source.queue()), stand.engine(nothing, [], input_queue="nowhere"))

    assert source.calls == []


def test_the_problems_of_all_engines_are_told_at_once(stand: EngineFixture) -> None:
    """Not those of the first alone."""
    engines = [stand.engine(nothing, [], input_queue=name) for name in ("nowhere", "beyond", "nowhere")]

    with pytest.raises(ConfigError) as caught:
        drain(*engines)

    assert [problem.split("'")[1] for problem in caught.value.problems] == ["nowhere", "beyond"]


# -- draining


def test_a_circle_of_engines_drains_when_nothing_goes_round_any_more(stand: EngineFixture) -> None:
    """Each waits for the other's last output."""
    ping, pong = stand.memory("ping"), stand.memory("pong")
    rounds: list[int] = []

    def there(number: int) -> Any:
        return "pong", number + 1

    def back(number: int) -> Any:
        rounds.append(number)
        return ("ping", number + 1) if number < 60 else None

    stand.numbers(1, "ping")

    drain(
        stand.engine(there, ["pong"], app_name="there", input_queue="ping", source=ping, targets=[pong]),
        stand.engine(back, ["ping"], app_name="back", input_queue="pong", source=pong, targets=[ping]),
    )

    assert rounds == list(range(1, 62, 2))


def test_a_drain_that_cannot_tell_whether_it_is_empty_ends_with_the_error(stand: EngineFixture) -> None:
    """A lag that fails is not a reason to wait for ever."""
    source = Source(lag=[None] * 1 + [ConnectorError("no permission to ask")] * 100)

    with pytest.raises(ConnectorError, match="no permission to ask"):
        drain(stand.engine(nothing, [], source=source.queue()))


def test_a_drain_with_nothing_to_do_ends_soon(stand: EngineFixture) -> None:
    """An empty queue is drained."""
    started = time.monotonic()

    drain(stand.engine(nothing, []))

    assert time.monotonic() - started < 1.0


# -- in a loop of one's own


def test_a_worker_serves_in_the_callers_loop_and_can_be_cancelled(stand: EngineFixture) -> None:
    """Cancelled, it stops in order all the same: what was begun is settled."""
    source, begun = Source([b"1"]), asyncio.Event()

    async def slow(number: int) -> None:
        begun.set()
        await asyncio.sleep(0.1)

    async def main() -> None:
        worker = Worker([stand.engine(slow, [], source=source.queue())], settings())
        serving = asyncio.create_task(worker.serve())
        await begun.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(main())

    assert source.settled() == [b"1"]
    assert source.count("shutdown") == 1


def test_a_worker_runs_off_the_main_thread(stand: EngineFixture) -> None:
    """Without signals then: the program that began the thread stops it."""
    source = Source([b"1"])
    worker = Worker([stand.engine(nothing, [], source=source.queue())], settings(), drain=True)

    thread = threading.Thread(target=worker.run)
    thread.start()
    thread.join(15)

    assert not thread.is_alive()
    assert source.settled() == [b"1"]


# -- health and metrics


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_readyz_says_what_the_worker_says_from_start_to_stop(
    stand: EngineFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """503 before it is connected, 200 while it works, 503 while it drains; /metrics counts."""
    caplog.set_level("INFO", "penstock")
    source, go = Source([b"1", b"2"]), asyncio.Event()
    hold = [go.wait]
    finish = threading.Event()
    source.steps["connect"] = deque(hold)

    def function(number: int) -> None:
        if number == 2:
            assert finish.wait(30)

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue()), metrics_port=0) as run:
            await until(lambda: "health and metrics on" in caplog.text)
            port = int(caplog.text.rpartition("health and metrics on 127.0.0.1 port ")[2].partition(":")[0])
            assert (await asyncio.to_thread(get, port, "/readyz"))[0] == 503
            go.set()
            await until(lambda: source.settled())
            assert (await asyncio.to_thread(get, port, "/readyz"))[0] == 200
            _, text = await asyncio.to_thread(get, port, "/metrics")
            [received] = [line for line in text.splitlines() if line.startswith("penstock_messages_received_total{")]
            assert received.endswith(" 2.0")
            run.worker.stop()
            assert (await asyncio.to_thread(get, port, "/readyz"))[0] == 503
            assert (await asyncio.to_thread(get, port, "/livez"))[0] == 200
            finish.set()
            await run.ended()
            with pytest.raises(OSError, match="refused"):
                await asyncio.to_thread(get, port, "/readyz")

    asyncio.run(main())


def test_a_metrics_port_that_is_taken_is_a_warning(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """A worker does not fail for its metrics."""
    stand.numbers(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        drain(stand.engine(nothing, []), metrics_port=port)

    assert f"health and metrics are not served: cannot listen on 127.0.0.1 port {port}" in caplog.text
    assert stand.bodies("in") == []


# -- signals


APP = """
import os, sys, threading, time
from penstock import Engine

queues = {"in": {"connector": "memory"}, "out": {"connector": "memory"}}
app = Engine("in", ["out"], queue_config=queues, metrics_port=None)

@app.stream_app
def main(number):
    os.write(1, b"begun %d\\n" % number)
    HOLD
    os.write(1, b"ended %d\\n" % number)
    return ("out", number)
"""
BRIEF = "time.sleep(0.5)"
NEVER = "threading.Event().wait()"


@contextmanager
def penstock_run(folder: Path, hold: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`penstock run` at work on its first message."""
    (folder / "app.py").write_text(APP.replace("HOLD", hold))
    (folder / "in.jsonl").write_text("1\n2\n3\n")
    arguments = ["app.py", "--feed", "in=in.jsonl", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli.main", "run", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "begun 1\n", process.communicate(timeout=30)[1]
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_worker_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """What runs is finished, sent and collected; exit code 0; nothing more is begun."""
    with penstock_run(tmp_path, BRIEF, "--log-level", "warning") as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)

    assert (process.returncode, errors) == (0, "")
    assert output == "ended 1\n"


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """Exit code 130, whatever still runs, and a line that says what it means."""
    with penstock_run(tmp_path, NEVER) as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)  # two signals of one number that are pending together count once
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)

    assert time.monotonic() - started < 2.0
    assert (process.returncode, output) == (130, "")
    assert "second signal: ending now; unsettled messages will be redelivered" in errors


def test_a_function_that_never_returns_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    """After shutdown_timeout the worker ends with exit code 0, and says how many messages it leaves."""
    (tmp_path / "queues.toml").write_text(
        "queues.in.connector = 'memory'\nqueues.out.connector = 'memory'\nworker.shutdown_timeout = 0.3\n"
    )
    with penstock_run(tmp_path, NEVER, "--config", "queues.toml", "--metrics-port", "none") as process:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)

    assert process.returncode == 0
    assert "not finished after 0.3 s; 3 messages are left to be redelivered" in errors


def test_an_engine_that_fails_is_exit_code_1_and_one_line(tmp_path: Path) -> None:
    """No trace for what is not a bug of ours or the user's."""
    (tmp_path / "app.py").write_text(APP.replace("HOLD", "pass"))
    (tmp_path / "in.jsonl").write_text("1\nno json\n")

    result = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "run", "app.py", "--feed", "in=in.jsonl"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("penstock: engine 'main', queue 'in', memory, message at 2: the body is not valid json")


@pytest.mark.parametrize("form", ["def", "async def"])
@pytest.mark.parametrize("batch", ["", "batch: true"], ids=["each", "batch"])
def test_a_function_may_end_the_process(tmp_path: Path, form: str, batch: str) -> None:
    """sys.exit(3) in a function: the engines stop in order, the code is kept, and a line says who did it and where."""
    (tmp_path / "queues.yml").write_text(f"in: {{connector: memory, {batch}}}\n")
    (tmp_path / "app.py").write_text(
        "import sys\nfrom penstock import Engine\napp = Engine('in', yaml_config_path='queues.yml')\n"
        f"@app.stream_app\n{form} main(message):\n    sys.exit(3)\n"
    )
    (tmp_path / "in.jsonl").write_text("1\n")

    result = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "run", "app.py", "--feed", "in=in.jsonl", "--metrics-port", "none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.partition(" ERROR ")[2] == (
        f"penstock: engine 'main': the function ended the process: SystemExit(3) at {tmp_path / 'app.py'}:6; "
        "the message is left in its queue\n"
    )


def test_an_internal_cancellation_is_no_quiet_end(stand: EngineFixture) -> None:
    """If a part of the worker is cancelled from outside, the rest stops, and says so."""

    async def main() -> None:
        async with running(stand.engine(nothing, [])) as run:
            await until(run.worker.health.ready)
            [task] = [each for each in asyncio.all_tasks() if "Pipeline.run" in repr(each.get_coro())]
            task.cancel()
            with pytest.raises(PenstockError, match="cancelled from outside"):
                await run.ended()

    asyncio.run(main())
