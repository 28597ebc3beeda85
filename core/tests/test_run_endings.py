"""How `penstock run` ends: the exit code, the summary at every end, and what is left of queues and files."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from core.tests.test_cli_run import CONFIG, Command, run

__all__ = ["run"]  # the fixture

APP = """
import os, signal, threading, time
from penstock import Engine, QueueMessage, Retry

app = Engine("in", ["out"], app_name="till", yaml_config_path="queues.yml", dead_letter_queue="dead",
             retry={"max_attempts": 2, "initial_delay": 0.01, "max_delay": 0.05})
seen = []

@app.stream_app
def main(number, msg_ctx: QueueMessage):
    seen.append(number)
    BODY
    return ("out", number)
"""
VERDICT = "penstock: the drain was stopped before its end: not everything is settled"


def write_app(run: Command, body: str) -> None:
    """The app, with this in its function."""
    run.write("app.py", APP.replace("BODY", body.replace("\n", "\n    ")))


def adds_up(err: str, engine: str = "till") -> dict[str, int]:
    """The numbers of an engine's summary, which must add up."""
    [line] = [line for line in err.splitlines() if f"engine '{engine}', queue " in line and " received" in line]
    told = line.rpartition("queue 'in': ")[2].partition(";")[0]
    numbers = {what: int(count.replace(",", "")) for count, what in re.findall(r"([\d,]+) ([a-z][a-z -]*)", told)}
    assert numbers.pop("received") == sum(numbers.values()), line
    return numbers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_drain_that_a_signal_stops_is_exit_code_3_and_says_what_is_left(run: Command, number: signal.Signals) -> None:
    """By queue, and from which line on the file was not fed; the numbers together are the whole file."""
    lines = 60_000
    run.write("in.jsonl", "".join(f"{n}\n" for n in range(lines)))
    write_app(run, f"if number == 300:\n    os.kill(os.getpid(), {number.value})")

    code, out, err = run("app.py", "--drain", "--feed", "in=in.jsonl")

    assert (code, out) == (3, "")
    outcomes = adds_up(err)
    *_, left_queue, verdict = err.splitlines()
    assert verdict == VERDICT
    fed = lines  # all of them were fed, if the queue was slow to open
    if (
        told := re.search(r"^left: --feed in.jsonl: ([\d,]+) lines were fed.* from line ([\d,]+) on$", err, re.M)
    ) is not None:
        fed = _number(told[1])
        assert _number(told[2]) == fed + 1
    waiting = _number(re.findall(r"^left: queue 'in': ([\d,]+) messages wait", left_queue)[0])
    unsettled = outcomes.get("unsettled", 0)
    assert f"{unsettled:,} more were received and not settled" in left_queue or not unsettled
    assert fed == outcomes["succeeded"] + unsettled + waiting


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def test_a_drain_that_the_shutdown_timeout_cuts_off_is_exit_code_3(run: Command) -> None:
    """The call that did not end is told as left."""
    run.write("queues.yml", run.read("queues.yml") + "  shutdown_timeout: 0.2\n")
    write_app(run, "if number == 2:\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(3)")

    code, _out, err = run("app.py", "--drain", "--feed", "in=in.jsonl")

    assert code == 3
    assert adds_up(err)["unsettled"] >= 1
    assert "more were received and not settled" in err
    assert err.splitlines()[-1] == VERDICT


CONSUMER = """
import asyncio, os, signal
from penstock.capabilities import Capabilities
from penstock.connectors import Consumer
from penstock.errors import NotConnected
from penstock.message import QueueMessage

def stop():
    os.kill(os.getpid(), signal.SIGTERM)

class Ours(Consumer):
    capabilities = Capabilities(lag=True)
    there = [QueueMessage(n, b"%d" % n) for n in range(3)]

    async def connect(self):
        CONNECT

    async def consume(self, max_messages, timeout):
        taken, self.there = self.there, []
        if not taken:
            await asyncio.sleep(timeout)
        return taken

    async def on_success(self, messages):
        asyncio.get_running_loop().call_later(0.3, stop)

    async def on_fail(self, messages, delay=None): ...

    async def lag(self):
        return None

    async def shutdown(self):
        SHUTDOWN
"""


def consume_from(run: Command, connect: str = "pass", shutdown: str = "pass") -> None:
    """A connector of ours as input queue, which cannot say how much waits, and stops the worker soon."""
    run.write("ours.py", CONSUMER.replace("CONNECT", connect).replace("SHUTDOWN", shutdown))
    run.write(
        "queues.yml",
        run.read("queues.yml").replace("in: {connector: memory, config", "in: {consumer: ours:Ours, config"),
    )
    write_app(run, "pass")


def test_a_drain_of_a_queue_that_cannot_say_how_much_waits_is_exit_code_3(run: Command) -> None:
    """It never knows that it is drained; stopped, it says that it does not know."""
    consume_from(run)

    code, _out, err = run("app.py", "--drain")

    assert code == 3
    assert adds_up(err) == {"succeeded": 3}
    assert err.splitlines()[-2:] == ["left: queue 'in': how many messages wait is not known", VERDICT]


def test_a_drain_that_never_began_says_so(run: Command) -> None:
    """A backend that is away at the start, and a signal while it is waited for."""
    consume_from(run, "stop(); raise NotConnected('away', retry_after=60)")

    code, _out, err = run("app.py", "--drain")

    assert code == 3
    assert adds_up(err) == {}
    assert err.splitlines()[-2:] == ["left: queue 'in': how many messages wait is not known", VERDICT]


def test_a_drain_whose_queue_does_not_close_cleanly_is_exit_code_3(run: Command) -> None:
    """What was settled last may not be durable, so the summary must not say that all of it is settled."""
    consume_from(run, shutdown="raise NotConnected('gone')")
    run.write(
        "ours.py", run.read("ours.py").replace("return None", "return len(self.there)").replace("0.3, stop", "0, id")
    )
    run.write("ours.py", run.read("ours.py").replace("0, id", "0, id, 0"))

    code, _out, err = run("app.py", "--drain")

    assert code == 3
    assert "left: queue 'in': 0 messages wait, it did not close cleanly, so what was settled last may come again" in err


def test_a_signal_after_the_drain_changes_nothing(run: Command) -> None:
    """All of it was settled: 0."""
    write_app(run, "pass")
    assert run("app.py", "--drain", "--feed", "in=in.jsonl") == (0, "", "")


def test_without_drain_a_signal_is_a_good_end_and_the_rest_of_the_file_is_told(run: Command) -> None:
    """Exit code 0, as a service; but data that was not fed is not passed over in silence."""
    run.write("in.jsonl", "".join(f"{n}\n" for n in range(600_000)))
    write_app(run, "if number == 300:\n    os.kill(os.getpid(), signal.SIGTERM)")

    code, _out, err = run("app.py", "--feed", "in=in.jsonl", "--log-level", "warning")

    assert code == 0
    assert re.fullmatch(r"left: --feed in.jsonl: [\d,]+ lines were fed; .* from line [\d,]+ on\n", err)


KINDS = """if number % 10 == 1:
    raise LookupError("never")
if number % 10 == 2 and msg_ctx.attempts == 1:
    raise LookupError("not yet")
if number % 10 == 3 and msg_ctx.attempts == 1:
    raise Retry(0.01)
if number % 10 == 4 and seen.count(number) == 1:
    return False"""


@pytest.mark.parametrize("verbose", [False, True], ids=["plain", "verbose"])
def test_the_summary_of_a_run_with_every_outcome_adds_up(run: Command, verbose: bool) -> None:
    """Also without a terminal."""
    run.write("in.jsonl", "".join(f"{n}\n" for n in range(100)) + "no json\n")
    write_app(run, KINDS)

    code, _out, err = run("app.py", "--drain", "--feed", "in=in.jsonl", *(["-v"] if verbose else []))

    assert code == 0
    assert adds_up(err) == {"succeeded": 90, "dead-lettered": 11, "requeued": 20}


def test_the_summary_comes_before_the_error_that_ends_a_run(run: Command) -> None:
    """Exit code 1, or 2 for a file that cannot be fed; the error is the last line."""
    write_app(run, KINDS)
    run.write("app.py", run.read("app.py").replace('dead_letter_queue="dead",', ""))
    run.write("in.jsonl", "0\n11\n0\n")

    code, _out, err = run("app.py", "--drain", "--feed", "in=in.jsonl")

    assert code == 1
    assert adds_up(err)["unsettled"] >= 1
    assert any(line.startswith("left: queue 'in': ") for line in err.splitlines())
    assert err.splitlines()[-1].startswith("penstock: engine 'till'")


def test_a_feed_that_fails_says_how_far_it_came(run: Command) -> None:
    """A line that cannot be written in the queue's format, in the middle."""
    pytest.importorskip("penstock_msgpack")
    run.write(
        "queues.yml",
        run.read("queues.yml").replace("other: {connector: memory", "other: {serializer: msgpack, connector: memory"),
    )
    run.write("in.jsonl", "1\n2\nno json\n")
    write_app(run, "pass")

    code, _out, err = run("app.py", "--drain", "--feed", "other=in.jsonl")

    assert code == 2
    assert "left: --feed in.jsonl: 0 lines were fed (some of the next 3 lines, too, perhaps); 12 of 12 bytes" in err
    assert err.splitlines()[-1].startswith("penstock: --feed in.jsonl, line 3: it is not valid JSON")


def test_a_start_that_is_refused_has_no_summary(run: Command) -> None:
    """Nothing was received, and nothing is left behind: the error stands alone."""
    write_app(run, "pass")

    code, _out, err = run("app.py", "--drain", "--feed", "in=missing.jsonl")

    assert (code, len(err.splitlines())) == (2, 1)


def test_a_second_signal_ends_with_130_and_the_summary(tmp_path: Path) -> None:
    """What was received and not settled is in flight: the numbers add up also then."""
    (tmp_path / "queues.yml").write_text(CONFIG.replace("SPACE", "x"))
    (tmp_path / "in.jsonl").write_text("1\n2\n3\n")
    (tmp_path / "app.py").write_text(APP.replace("BODY", "open('working', 'w').close(); time.sleep(60)"))
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli.main", "run", "app.py", "--drain", "--feed", "in=in.jsonl"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "working").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert adds_up(err)["in flight"] >= 1
