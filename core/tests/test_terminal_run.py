"""What `penstock run` shows of its engines: a table below the log on a terminal, a line of the log elsewhere."""

from __future__ import annotations

import logging
import os
import re
import signal
from pathlib import Path

import pytest
from tests.terminals import Program, Terminal, assert_screen, set_colours, without

from penstock.cli.main import main
from penstock.observability.counting import EngineMetrics
from penstock.observability.metric_definitions import RECEIVED, SETTLED
from penstock.terminal import display, run_view
from penstock.terminal.bars import Bar
from penstock.terminal.display import Display
from penstock.terminal.run_view import RunView

SCREENS = Path(__file__).parent / "screens"
QUEUES = """
queues:
  orders: {profile: memory}
  rejects: {profile: memory-dlq}
worker: {metrics_port: none}
"""
APP = """
import logging, sys, time
from penstock import Engine

log = logging.getLogger("shop")
log.setLevel(logging.INFO)
log.propagate = False
log.addHandler(logging.StreamHandler(sys.__stderr__))
app = Engine("orders", dead_letter_queue="rejects", config="queues.yml", retry={"max_attempts": 1})

@app.stream_app
def till(number: int) -> None:
    log.info("number %d", number)
    print("print", number)
    if number == 3:
        raise ValueError("three")
    if number == 5:
        time.sleep(600)
"""


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def busy_view(clock: Clock, *, drain: bool = False) -> RunView:
    """A view of two engines: one after 5 s of work, one that has not heard of its lag and done nothing."""
    till = EngineMetrics("till", "orders", "kafka", ["invoices"])
    post = EngineMetrics("a-post-office-with-a-long-name", "invoices", "rsmq")
    bar = Bar("--feed orders.jsonl", 40_000, clock)
    view = RunView(lambda: [till, post], lambda: [bar] if drain else [], drain, clock)
    clock.now += 5
    till.count(RECEIVED, 20_040)
    till.count(SETTLED, 19_995, "succeeded")
    till.dead_lettered(5, "function")
    till.function_failed(7, "ValueError")
    till.function_time(0.3, 100)
    till.watch_lag(lambda: 1_234_567)
    till.watch_in_flight(lambda: 40)
    bar.done = 20_040
    return view


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("drain", [False, True], ids=["service", "drain"])
def test_a_screen_of_a_run(columns: int, drain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As golden files: the log above, the table at the bottom."""
    set_colours(monkeypatch)
    with Terminal(columns, 16) as terminal, terminal.stream() as stream:
        with Display(busy_view(Clock(), drain=drain).rich_content, stream):
            terminal.wait_for("1.2M")
            for number in range(20):
                stream.write(f"2026-11-27T03:00:{number:02}.000+00:00 INFO penstock: line {number} of the log\n")
            shown = terminal.wait_for("line 19")
            assert_screen(shown, SCREENS / f"run_{'drain_' if drain else ''}{columns}.txt")
            assert re.search(rb"\x1b\[31m *5", terminal.raw)
        terminal.read()
        assert terminal.is_as_before()


def test_without_colours_no_cell_has_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR: the table is there, plain."""
    set_colours(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    with Terminal(100) as terminal, terminal.stream() as stream, Display(busy_view(Clock()).rich_content, stream):
        terminal.wait_for("1.2M")

        assert set(re.findall(rb"\x1b\[[0-9;]*m", terminal.raw)) == {b"\x1b[0m"}


def test_a_terminal_that_takes_nothing_stops_neither_the_work_nor_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after Ctrl-S: the rows are taken away once it goes on."""
    set_colours(monkeypatch)
    monkeypatch.setattr(display, "END_TIMEOUT", 0.2)
    with Terminal() as terminal, terminal.stream() as stream:
        with Display(busy_view(Clock()).rich_content, stream) as shown:
            terminal.wait_for("1.2M")
            terminal.type("\x13")
        terminal.type("\x11")
        terminal.wait_until(lambda lines: not lines)
        assert shown._watcher is not None
        shown._watcher.wait()

        assert terminal.is_as_before()


def test_the_numbers_are_those_of_the_last_seconds() -> None:
    """A rate, and the bound below which 95 of 100 calls stay, forget what is older."""
    clock, counters = Clock(), EngineMetrics("till", "orders", "kafka")
    view = RunView(lambda: [counters], list, False, clock)
    [(_rates, first)] = view.numbers()
    assert (first.rate, first.lag, first.call_seconds) == (0, None, None)
    counters.function_time(400.0, 1)
    counters.count(SETTLED, 1_000, "succeeded")
    clock.now += 10
    [(_rates, slow)] = view.numbers()
    assert (slow.rate, slow.call_seconds) == (100, float("inf"))
    counters.function_time(0.094, 94)
    counters.function_time(0.4, 1)
    counters.function_time(100.0, 5)
    counters.count(SETTLED, 50, "skipped")
    clock.now += 10
    [(_rates, fast)] = view.numbers()
    assert (fast.rate, fast.call_seconds, fast.settled) == (5, 0.5, 1_050)


def test_the_first_rate_is_that_since_the_start() -> None:
    """Also where the first look comes after ten seconds."""
    clock, counters = Clock(), EngineMetrics("till", "orders", "kafka")
    view = RunView(lambda: [counters], list, False, clock)
    counters.count(SETTLED, 50, "succeeded")
    clock.now += 10

    [(_rates, numbers)] = view.numbers()
    assert numbers.rate == 5


def test_an_engine_that_does_nothing_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its last line still holds; a service that is idle at night fills no disk."""
    caplog.set_level(logging.INFO)
    clock = Clock()
    view = busy_view(clock)
    for _time in range(3):
        view.log_numbers()
        clock.now += 10

    [record] = caplog.records
    assert record.getMessage() == (
        "engine 'till', queue 'orders': 4,000 messages/s, 1,234,567 wait, 40 in flight, 7 failed, 5 dead-lettered, "
        "p95 of a call ≤ 5 ms"
    )
    fields = ("engine", "queue", "connector", "rate", "lag", "in_flight", "failed", "dead", "call_seconds_p95")
    assert [getattr(record, name) for name in fields] == ["till", "orders", "kafka", 4000, 1_234_567, 40, 7, 5, 0.005]
    assert (record.name, record.levelno) == ("penstock.progress", logging.INFO)


def test_a_run_without_a_terminal_logs_its_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every ten seconds; here more often."""
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_view, "LOG_INTERVAL", 0.01)
    Path("queues.yml").write_text(QUEUES)
    Path("slow_till.py").write_text(  # a name of its own: the module stays imported
        "import time\nfrom penstock import Engine\napp = Engine('orders', config='queues.yml')\n"
        "@app.stream_app\ndef till(number: int) -> None:\n    time.sleep(0.1)\n"
    )
    Path("in.jsonl").write_text("1\n2\n3\n")

    assert main(["run", "slow_till.py", "--drain", "-v", "--feed", "orders=in.jsonl"]) == 0

    records = [record for record in caplog.records if record.name == "penstock.progress"]
    assert {(record.engine, record.queue) for record in records} == {("till", "orders")}  # type: ignore[attr-defined]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with an app whose fifth call does not end, and its numbers."""
    monkeypatch.chdir(tmp_path)
    Path("queues.yml").write_text(QUEUES)
    Path("app.py").write_text(APP)
    Path("in.jsonl").write_text("".join(f"{number}\n" for number in range(1, 6)))


@pytest.mark.parametrize("how", ["Ctrl-C twice", "SIGKILL", "closed"])
@pytest.mark.usefixtures("shop")
def test_a_run_that_is_cut_off_leaves_the_terminal_as_it_was(how: str) -> None:
    """Meanwhile the program's own log, through a handler on Python's first stream, and its prints stay apart."""
    with Program("-m", "penstock.cli.main", "run", "app.py", "--feed", "orders=in.jsonl") as terminal:
        terminal.wait_until(
            lambda lines: any(line.startswith("till    orders") for line in lines[-3:]) and "print 5" in lines
        )
        wanted = {f"{what} {number}" for number in range(1, 6) for what in ("number", "print")}
        assert wanted <= set(terminal.everything())
        if how == "closed":
            terminal.hang_up()
            os.kill(terminal.pid, signal.SIGTERM)  # the second signal, after the kernel's SIGHUP
            assert terminal.wait() == 130
            return
        if how == "SIGKILL":
            os.kill(terminal.pid, signal.SIGKILL)
            assert terminal.finish() == -signal.SIGKILL
        else:
            terminal.type("\x03")
            terminal.wait_for("^C")
            terminal.type("\x03")
            assert terminal.finish() == 130

        assert terminal.is_as_before()
        assert not [line for line in terminal.everything() if line.startswith(("engine  queue", "till    orders"))]


@pytest.mark.usefixtures("shop")
def test_without_rich_a_run_on_a_terminal_is_plain(tmp_path: Path) -> None:
    """Log and prints, without an escape sequence; Ctrl-C ends it in order."""
    Path("in.jsonl").write_text("1\n2\n")
    words = ("-m", "penstock.cli.main", "run", "app.py", "--feed", "orders=in.jsonl")
    with Program(*words, environment=without("rich", tmp_path)) as terminal:
        terminal.wait_for("print 2")
        terminal.type("\x03")
        assert terminal.finish() == 0

        assert b"\x1b" not in terminal.raw
        assert terminal.is_as_before()
