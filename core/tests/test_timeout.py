"""The middleware `timeout`: what becomes of a call that takes too long."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from penstock.builtin.timeout import Timeout
from penstock.engine import Engine
from penstock.errors import PenstockError
from penstock.observability.metric_definitions import MIDDLEWARE_EVENTS, SETTLED
from penstock.testing import Harness

from .engine_fixture import EngineFixture, drain

TIMEOUT = (MIDDLEWARE_EVENTS, "timeout")


def memory_engine(**settings: object) -> Engine:
    """An engine from "in" to nothing, with dead letters."""
    queues = {"in": {"connector": "memory"}, "dead": {"connector": "memory", "serializer": None, "model_handler": None}}
    return Engine("in", dead_letter_queue="dead", queue_config=queues, retry={"max_attempts": 1}, **settings)  # type: ignore[arg-type]


def test_an_async_call_is_cancelled_and_fails() -> None:
    """At its time, by the clock of the event loop; other calls go on."""
    app = memory_engine(middleware=[Timeout(seconds=5)], concurrency=2)
    ended: list[int] = []

    @app.stream_app
    async def sleeps(seconds: int) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            ended.append(seconds)

    with Harness(app) as harness:
        harness.send("in", 60)
        harness.send("in", 1)
        harness.run()

        (dead,) = harness.dead_letters()
        assert (dead.error_type, dead.error_text) == ("TimeoutError", "the call was cancelled after 5 s")
        assert harness.succeeded == 1
        assert 5 <= harness.elapsed < 10
    assert ended == [1, 60]


def test_a_timeout_of_the_function_s_own_is_not_counted() -> None:
    """It fails the call as it did before."""
    stand = EngineFixture()
    stand.put(b"1")

    async def raises(_number: int) -> None:
        raise TimeoutError("mine")

    worker = drain(stand.engine(raises, middleware=[Timeout(seconds=60)], dead_letters=True))

    (metrics,) = worker.metrics.engines()
    assert TIMEOUT not in metrics.counts()
    (dead,) = stand.take("dead")
    assert dict(dead.headers)["penstock-error-text"] == b"mine"


def test_a_blocked_thread_is_reported_with_its_stack_and_its_result_still_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once for each call."""
    stand, reported = EngineFixture(), threading.Event()
    stand.put(b"1")

    class Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "has not returned" in record.getMessage():
                reported.set()

    def blocks(number: int) -> tuple[str, int]:
        assert reported.wait(30)
        return ("out", number)

    handler = Hear()
    logging.getLogger("penstock").addHandler(handler)
    try:
        worker = drain(stand.engine(blocks, middleware=[Timeout(seconds=0.05)]))
    finally:
        logging.getLogger("penstock").removeHandler(handler)

    (metrics,) = worker.metrics.engines()
    assert metrics.counts()[TIMEOUT] == 1
    assert metrics.counts()[SETTLED, "succeeded"] == 1
    (record,) = [each for each in caplog.records if "has not returned" in each.getMessage()]
    assert "assert reported.wait(30)" in record.getMessage()
    assert "for the message at" in record.getMessage()


def test_the_watching_thread_ends_with_the_calls() -> None:
    """And is there again for the next ones."""
    stand = EngineFixture()
    stand.put(b"1", b"2")

    drain(stand.engine(lambda _number: time.sleep(0.03), [], middleware=[Timeout(seconds=0.2)]))

    deadline = time.monotonic() + 10
    while any(thread.name == "penstock-timeout" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_blocked_thread_may_end_the_worker() -> None:
    """In order: the engine stops with the reason, and the message is left to be delivered again."""
    stand, release = EngineFixture(), threading.Event()
    stand.put(b"1")

    def blocks(_number: int) -> None:
        release.wait(30)

    engine = stand.engine(blocks, [], middleware=[Timeout(seconds=0.05, end_worker=True)])
    try:
        with pytest.raises(PenstockError, match=r"a call of .*blocks blocks its thread for more than 0.05 s"):
            drain(engine, shutdown_timeout=0.1)
    finally:
        release.set()

    assert engine.pipeline is not None
    assert engine.pipeline.ending is not None
    assert engine.pipeline.ending.unsettled == 1


BLOCKED_LOOP = """
import time
from penstock import Engine
from penstock.builtin.timeout import Timeout

app = Engine("in", queue_config={"in": {"connector": "memory"}}, metrics_port=None,
             middleware=[Timeout(seconds=0.1, end_worker=True)])

@app.stream_app
async def blocks(number: int) -> None:
    time.sleep(60)
"""


def test_a_blocked_event_loop_ends_the_process(tmp_path: Path) -> None:
    """Nothing can be stopped in order then, so it ends at once, with the stack in its log."""
    (tmp_path / "app.py").write_text(BLOCKED_LOOP)
    (tmp_path / "numbers.jsonl").write_text("1\n")

    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "run", "app.py", "--feed", "in=numbers.jsonl"],
        cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "time.sleep(60)" in done.stderr
    assert "the event loop is blocked" in done.stderr
