"""Several processes of one worker: watched, replaced, stopped and drained together, on one port."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock import BlockingQueues
from penstock.backoff import Backoff
from penstock.config.model import WorkerSettings
from penstock.worker import supervisor

WITHIN = 60.0  # seconds; a Python starts in one, on a busy machine in ten

PROGRAM = """
import os
from penstock import Engine

app = Engine("orders", ["done"], config="queues.yml", on_failed="stop", retry={"max_attempts": 1})


@app.stream_app
def work(number: int):
    if number < 0:
        raise ValueError("below zero")
    return "done", [number, os.getpid()]


if __name__ == "__main__":
    app.run()
"""


def queues(folder: Path, processes: int) -> Path:
    """A configuration of queues in a file."""
    path = folder / "queues.yml"
    path.write_text(
        f"queues:\n  orders: {{profile: sqlite, config: {{path: {folder}/shop.db, lease: 2}}}}\n"
        f"  done: {{profile: sqlite, config: {{path: {folder}/shop.db}}}}\n"
        f"worker: {{metrics_port: 0, processes: {processes}}}\n"
    )
    (folder / "app.py").write_text(PROGRAM)
    return path


class Running:
    """A worker of several processes, and what it has said so far."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._said = folder / "said.txt"
        with self._said.open("w") as out:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_PROCESS")}
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + WITHIN
        while not condition():
            assert self.process.poll() is None, f"it has ended before {what}:\n{self.said}"
            assert time.monotonic() < deadline, f"not within {WITHIN:g} s: {what}\n{self.said}"
            time.sleep(0.05)

    def page(self, path: str) -> str:
        """What its port answers."""
        port = re.search(r"starting .* processes, health and metrics on 127.0.0.1 port (\d+)", self.said)
        assert port is not None, self.said
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def children(self) -> dict[str, int]:
        """The latest process of each number."""
        return {number: int(pid) for number, pid in re.findall(r"process (\d+) of \d+ is (\d+)", self.said)}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`start("app.py")` runs a program in a process of its own."""
    started: list[Running] = []

    def run(*command: str) -> Running:
        started.append(Running(tmp_path, *command))
        return started[-1]

    yield run
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


def ready(worker: Running) -> bool:
    """Whether all processes are at work."""
    return worker.said.count("at work, connected") >= len(worker.children()) > 0


def test_a_process_that_is_killed_is_replaced_and_nothing_is_lost(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    """The others go on; one port tells of all; SIGTERM stops all in order, with exit code 0."""
    config = queues(tmp_path, 3)
    worker = start("app.py")
    worker.until(lambda: ready(worker), "three processes are at work")
    with BlockingQueues(str(config)) as shop:
        shop.send_batch("orders", range(300))
        killed = worker.children()["2"]
        os.kill(killed, signal.SIGKILL)
        worker.until(lambda: worker.children()["2"] != killed, "a new process 2")
        shop.send_batch("orders", range(300, 600))
        # What the killed one had in its hands may come twice.
        worker.until(lambda: shop.lag("orders") == 0 and (shop.lag("done") or 0) >= 600, "all outputs")
        seen = {
            number for batch in shop.read("done", model=list[int], batch=500, idle=1.0) for number, _ in batch.objects
        }
        assert seen == set(range(600))
    worker.until(lambda: worker.said.count("at work, connected") == 4, "the new process is at work")
    worker.until(lambda: _page_if_ready(worker), "the port says that all are ready")
    assert "was ended by SIGKILL" in worker.said
    health = json.loads(worker.page("/livez"))
    assert {name.partition(":")[0] for name in health["components"]} == {"process 1", "process 2", "process 3"}
    metrics = worker.page("/metrics")
    assert sum(float(each) for each in re.findall(r"^penstock_build_info{.*} (.*)$", metrics, re.M)) == 1
    assert len(re.findall(r'^process_open_fds{process="\d"}', metrics, re.M)) == 3

    worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(WITHIN) == 0, worker.said
    assert all(not _lives(pid) for pid in worker.children().values())


def _page_if_ready(worker: Running) -> str:
    try:
        return worker.page("/readyz")
    except OSError:  # 503 until they are
        return ""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_drain_ends_when_every_process_has_drained(tmp_path: Path, start: Callable[..., Running]) -> None:
    """`penstock run --processes`; what each has to say it says itself."""
    config = queues(tmp_path, 1)
    with BlockingQueues(str(config)) as shop:
        shop.send_batch("orders", range(100))
    worker = start("-m", "penstock", "run", "app.py", "--processes", "2", "--drain")

    assert worker.process.wait(WITHIN) == 0, worker.said
    with BlockingQueues(str(config)) as shop:
        assert (shop.lag("orders"), shop.lag("done")) == (0, 100)


def test_an_error_of_its_own_ends_all(tmp_path: Path, start: Callable[..., Running]) -> None:
    """With its exit code: the others would meet the same."""
    config = queues(tmp_path, 2)
    worker = start("-m", "penstock", "run", "app.py")
    worker.until(lambda: ready(worker), "two processes are at work")
    with BlockingQueues(str(config)) as shop:
        shop.send("orders", -1)

    assert worker.process.wait(WITHIN) == 1, worker.said
    assert "below zero" in worker.said
    assert "stopping all processes, because process" in worker.said
    assert all(not _lives(pid) for pid in worker.children().values())


def test_processes_stop_when_the_one_that_watches_them_is_killed(tmp_path: Path, start: Callable[..., Running]) -> None:
    """None is left that nothing watches."""
    queues(tmp_path, 2)
    worker = start("app.py")
    worker.until(lambda: ready(worker), "two processes are at work")
    children = worker.children().values()

    worker.process.kill()
    worker.process.wait()

    deadline = time.monotonic() + WITHIN
    while any(map(_lives, children)):
        assert time.monotonic() < deadline, worker.said
        time.sleep(0.1)


def test_one_that_cannot_be_kept_alive_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After five deaths in a row, each logged with how it ended."""
    monkeypatch.setattr(supervisor, "RESTART", Backoff(initial=0.01, maximum=0.01))
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-S", "-c", "import os; os._exit(9)"])
    settings = WorkerSettings(processes=1, metrics_port=None)

    async def main() -> int:
        return await supervisor.Supervisor(settings, drain=False).run()

    assert asyncio.run(main()) == 1
    assert caplog.text.count("ended with exit code 9") == 6
    assert "process 1 cannot be kept alive" in caplog.text or "for the 6th time in a row" in caplog.text


def test_feeds_need_one_process(tmp_path: Path, start: Callable[..., Running]) -> None:
    """Each process would feed the whole file."""
    queues(tmp_path, 2)
    worker = start("-m", "penstock", "run", "app.py", "--feed", "orders=app.py")

    assert worker.process.wait(WITHIN) == 2
    assert "--feed and --collect work in one process" in worker.said
