"""Several processes that run the same program: started, watched, replaced when they die, stopped together.

Each is the same command line again, so nothing is shared but the environment, on every platform. A process that ends by
itself, with an error of its own, ends all: the others would meet the same. One that dies is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from penstock.backoff import Backoff
from penstock.config.model import WorkerSettings
from penstock.observability.log_formats import PROCESS
from penstock.observability.outages import duration
from penstock.version import __version__
from penstock.worker.child_process import FOLDER, told_port
from penstock.worker.signals import stop_signals

if TYPE_CHECKING:
    from penstock.worker.endpoints import Endpoints

log = logging.getLogger("penstock")

RESTART = Backoff(initial=0.5, maximum=30.0)
LONG_LIFE = 60.0  # seconds after which a death is not one of a series
MOST_DEATHS = 5  # in a row; then the worker ends
LOOK = 0.05  # seconds between two looks whether a process has ended
HEALTH_EVERY = 1.0  # seconds between two questions for the health of each process
BEYOND = 20.0  # seconds after the shutdown timeout; then a process that still runs is killed
OWN_ENDS = frozenset({0, 1, 2, 3})  # exit codes of a worker: a stop, an error, a configuration, a drain not finished
ABORTED = 130


class Supervisor:
    """Runs the processes of one worker.

    Args:
        settings: Of the worker; `processes` is how many.
        drain: Each process ends when the queues are empty.
    """

    def __init__(self, settings: WorkerSettings, *, drain: bool) -> None:
        self._settings = settings
        self._drain = drain
        self._count = settings.process_count
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._reports: dict[int, dict[str, Any] | None] = dict.fromkeys(range(1, self._count + 1))
        self._stopping = asyncio.Event()
        self._folder = Path()

    async def run(self) -> int:
        """Run until all processes have ended; returns the exit code of the worker: that of the first that failed."""
        with tempfile.TemporaryDirectory(prefix="penstock-") as folder, stop_signals(self._stop, self._abort):
            self._folder = Path(folder)
            endpoints = self._endpoints()
            asking = asyncio.create_task(self._ask_for_health())
            where = "without health and metrics" if endpoints is None else endpoints.serves
            log.info("starting Penstock %s, process %d, %d processes, %s", __version__, os.getpid(), self._count, where)
            keeping = [asyncio.create_task(self._keep(number)) for number in self._reports]
            try:
                codes = await asyncio.gather(*keeping)
            finally:
                asking.cancel()
                self._signal(signal.SIGKILL)  # nothing is left, unless this ends by an error
                if endpoints is not None:
                    endpoints.stop()
        return next(filter(None, codes), 0)

    async def _keep(self, number: int) -> int:
        """Run one process, again and again if it dies; returns its last exit code."""
        deaths = 0
        while not self._stopping.is_set():
            child, begun = self._start(number), monotonic()
            code = await self._end_of(child)
            self._reports[number] = None
            if self._stopping.is_set():
                # By SIGTERM: it was told to stop before it listened.
                return 0 if code == -signal.SIGTERM else code if code in OWN_ENDS else 1
            if code in OWN_ENDS and (code or self._drain):
                if code:
                    self._stop_because(f"process {number} has ended with exit code {code}")
                return code
            deaths = 1 if monotonic() - begun > LONG_LIFE else deaths + 1
            text = f"process {number}, {child.pid}, {_how(code)} after {duration(monotonic() - begun)}"
            if deaths > MOST_DEATHS:
                log.error("%s, for the %dth time in a row; the worker ends", text, deaths)
                self._stop_because(f"process {number} cannot be kept alive")
                return 1
            wait = RESTART.delay(deaths)
            log.warning("%s; starting it again in %.1f s", text, wait)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
        return 0

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        environment = {**os.environ, PROCESS: str(number), FOLDER: str(self._folder)}
        command = [sys.executable, *sys.orig_argv[1:]]
        # In a session of its own: Ctrl-C reaches this process alone, which passes it on once.
        child = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603  (our own command line)
        self._children[number] = child
        log.info("process %d of %d is %d", number, self._count, child.pid)
        return child

    async def _end_of(self, child: subprocess.Popen[bytes]) -> int:
        kill_at: float | None = None
        while (code := child.poll()) is None:
            if self._stopping.is_set() and kill_at is None:
                kill_at = monotonic() + self._settings.shutdown_timeout + BEYOND
            if kill_at is not None and monotonic() > kill_at:
                log.warning("process %d has not stopped in time, and is killed", child.pid)
                child.kill()
            await asyncio.sleep(LOOK)
        return code

    # -- stopping

    def _stop_because(self, why: str) -> None:
        if not self._stopping.is_set():
            log.info("stopping all processes, because %s", why)
            self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def _abort(self) -> None:
        self._signal(signal.SIGTERM)  # their second one
        os._exit(ABORTED)

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(number)

    # -- health and metrics

    def _endpoints(self) -> Endpoints | None:
        if self._settings.metrics_port is None:
            return None
        from penstock.worker.endpoints import Endpoints  # here: not every worker has a port

        endpoints = Endpoints(self._settings.metrics_host, self._settings.metrics_port, self, self)
        endpoints.start()
        return endpoints

    async def _ask_for_health(self) -> None:
        from penstock.worker.process_metrics import report_of

        while True:
            for number, port in self._ports().items():
                self._reports[number] = await asyncio.to_thread(report_of, port)
            await asyncio.sleep(HEALTH_EVERY)

    def _ports(self) -> Mapping[int, int]:
        ports = {number: told_port(self._folder, number, child.pid) for number, child in self._children.items()}
        return {number: port for number, port in ports.items() if port is not None}

    def report(self) -> dict[str, Any]:
        """What `/readyz` and `/livez` show."""
        from penstock.worker.process_metrics import merged_report

        return merged_report({f"process {number}": report for number, report in self._reports.items()})

    def exposition(self) -> tuple[bytes, str]:
        """What `/metrics` shows."""
        from penstock.worker.process_metrics import fetch, merged_metrics

        pages = {str(number): fetch(port, "/metrics") for number, port in self._ports().items()}
        return merged_metrics({number: page for number, page in pages.items() if page})


def _how(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
