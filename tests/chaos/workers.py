"""Real worker processes, and the supervisor that starts another one when one ends, as systemd does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.waiting import LONGEST, Stop, wait_for

APP = Path(__file__).with_name("app.py")
WORKING = "working on the first message"  # what the program prints, once a process
HOPELESS = 5  # workers that ended by themselves, in one trial
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between an end and the next start, doubled while processes die young


@dataclass
class Process:
    """One process of a slot.

    Attributes:
        ended_by: What we did to it: then its end is expected.
        early: We did so before it had called its function: Python itself may not have begun to listen to signals.
    """

    popen: subprocess.Popen[bytes]
    log: Path
    ended_by: signal.Signals | None = None
    early: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def working(self) -> bool:
        """Whether its function has been called."""
        return self.alive and WORKING in self.log.read_text(errors="replace")

    def last_line(self) -> str:
        """The end of what it wrote, for the report."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[-200:] if lines else "it wrote nothing"


class Supervisor:
    """Keeps a number of workers alive. `tend` must be called now and then; there is no thread behind it.

    Args:
        folder: For their logs; the configuration is there, too.
        workers: How many at a time. Every second one is started as `penstock run`, the others as `python app.py`.
        work: What the program is told: see app.py.
        stop: Set when the whole run is to end.
        crashes_expected: A worker that dies of its message is not a surprise.
    """

    def __init__(
        self, folder: Path, workers: int, work: dict[str, Any], stop: Stop, crashes_expected: bool = False
    ) -> None:
        self._folder = folder
        self._stop = stop
        self._environment = os.environ | {"CHAOS_ROUND": json.dumps(work), "PYTHONUNBUFFERED": "1"}
        self._crashes_expected = crashes_expected
        self._slots: list[Process | None] = [None] * workers
        self._pauses = [FIRST_PAUSE] * workers
        self._not_before = [0.0] * workers
        self.started = 0
        self.surprises: list[str] = []
        """Ends that the test did not cause, and ends by SIGTERM that were not in order."""

    @property
    def processes(self) -> list[Process]:
        """Those that run."""
        return [each for each in self._slots if each is not None and each.alive]

    def tend(self) -> None:
        """Start what is not there, note what has ended.

        Raises:
            Stopped: the run is to end.
        """
        self._stop.check()
        for slot, process in enumerate(self._slots):
            if process is not None and process.alive:
                continue
            if process is not None:
                self._note(process)
                young = time.monotonic() - process.started < 5
                self._pauses[slot] = min(LONGEST_PAUSE, 2 * self._pauses[slot]) if young else FIRST_PAUSE
                self._not_before[slot] = time.monotonic() + self._pauses[slot]
                self._slots[slot] = None
            if time.monotonic() >= self._not_before[slot]:
                self._slots[slot] = self._start(slot)

    def _start(self, slot: int) -> Process:
        plain = [str(APP)]
        command = [sys.executable, *(plain if slot % 2 == 0 else ["-m", "penstock.cli.main", "run", *plain])]
        self.started += 1
        log = self._folder / f"worker-{self.started}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
            )
        return Process(popen, log)

    def _note(self, process: Process) -> None:
        code = process.popen.returncode
        expected = {None: None, signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 0}[process.ended_by]
        if process.early and code == -signal.SIGTERM:
            return
        crashed = process.ended_by is None and code in (9, -signal.SIGSEGV, -signal.SIGABRT)
        if code != expected and not (self._crashes_expected and crashed):
            cause = "by itself" if process.ended_by is None else f"after {process.ended_by.name}"
            self.surprises.append(f"a worker ended {cause} with code {code}: {process.last_line()}")

    @property
    def hopeless(self) -> bool:
        """Whether workers keep ending by themselves: nothing will move any more."""
        return len(self.surprises) >= HOPELESS

    def victim(self, chance: random.Random) -> Process | None:
        """One that has work; None if none begins any within the limit, or all is done."""
        found: list[Process] = []

        def look() -> bool:
            self.tend()
            found[:] = [each for each in self.processes if each.working and each.ended_by is None]
            return bool(found) or self.hopeless

        return chance.choice(found) if wait_for(look) and found else None

    def signal(self, process: Process, number: signal.Signals) -> None:
        """Send a signal; SIGKILL and SIGTERM are remembered as the reason of its end."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            process.ended_by = number
            process.early = not process.working
        process.popen.send_signal(number)

    def stop(self) -> None:
        """SIGTERM for all, and wait for their ends in order."""
        for process in self.processes:
            self.signal(process, signal.SIGTERM)
        for process in [each for each in self._slots if each is not None]:
            try:
                process.popen.wait(LONGEST)
            except subprocess.TimeoutExpired:
                self.surprises.append(f"a worker did not end within {LONGEST:.0f} s after SIGTERM")
                process.popen.kill()
                process.popen.wait()
                continue
            self._note(process)
        self._slots = []

    def close(self) -> None:
        """Whatever happened, they are gone afterwards."""
        for process in self._slots:
            if process is not None and process.alive:
                process.popen.kill()
                process.popen.wait()
