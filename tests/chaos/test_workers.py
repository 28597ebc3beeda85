"""The supervisor starts another worker when one ends, and tells an end that was caused from one that was not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import workers
from tests.chaos.waiting import Stop, Stopped, wait_for
from tests.chaos.workers import Supervisor

PROGRAM = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("working on the first message", flush=True)
if os.path.exists("crash"):
    os.remove("crash")
    print("the last words")
    os.sys.exit(7)
time.sleep(600)
"""


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def supervisor(tmp_path: Path, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """One of one worker, whose program does nothing."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(workers, "APP", program)
    made = Supervisor(tmp_path, 1, {}, stop)
    yield made
    made.close()


def working(supervisor: Supervisor) -> bool:
    """Whether its worker works."""
    supervisor.tend()
    return any(each.working for each in supervisor.processes)


def test_a_worker_that_was_killed_is_replaced_without_a_surprise(supervisor: Supervisor) -> None:
    """What the ledger did itself is not held against the worker."""
    assert wait_for(lambda: working(supervisor))
    [first] = supervisor.processes
    supervisor.signal(first, signal.SIGKILL)
    assert wait_for(lambda: not first.alive)
    assert wait_for(lambda: working(supervisor))
    supervisor.stop()
    assert (supervisor.started, supervisor.surprises, supervisor.processes) == (2, [], [])


def test_a_worker_that_ends_by_itself_is_named_with_its_last_words(supervisor: Supervisor, tmp_path: Path) -> None:
    """And replaced."""
    (tmp_path / "crash").touch()
    assert wait_for(lambda: (supervisor.started == 2 and working(supervisor)) or bool(supervisor.tend()))
    assert supervisor.surprises == ["a worker ended by itself with code 7: the last words"]


def test_a_run_that_is_stopped_ends_its_trials(supervisor: Supervisor, stop: Stop) -> None:
    """Wherever they are: the supervisor is asked all the time."""
    supervisor.tend()
    stop.set()
    with pytest.raises(Stopped):
        supervisor.tend()
