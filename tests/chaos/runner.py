"""Runs trials, several at a time as long as they hurt different servers: most of a trial is waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.report import Progress, Skipped
from tests.chaos.rounds import Result, run
from tests.chaos.scenarios import Trial
from tests.chaos.servers import Servers, Unavailable
from tests.chaos.waiting import Stop


class Runner:
    """Runs trials and keeps what they found.

    Attributes:
        results: In the order in which the trials were given.
        skipped: Those whose servers cannot be had here.
    """

    def __init__(self, servers: Servers, progress: Progress) -> None:
        self._servers = servers
        self._progress = progress
        self._changed = threading.Condition()
        self._stop = Stop()
        self._waiting: list[tuple[int, Trial, int]] = []
        self._in_use: list[str] = []
        self._alone_runs = False
        self._found: dict[int, Result] = {}
        self.skipped: list[Skipped] = []

    @property
    def results(self) -> list[Result]:
        """See above."""
        return [self._found[number] for number in sorted(self._found)]

    def run(self, trials: Sequence[tuple[Trial, int]], jobs: int) -> None:
        """Run each trial with its seed.

        Args:
            trials: They begin in this order, as soon as the servers that they hurt are free.
            jobs: How many at a time.
        """
        self._waiting = [(number, trial, seed) for number, (trial, seed) in enumerate(trials)]
        # Started one after the other: two at a time would each think that the server is not there yet.
        for name in dict.fromkeys(name for trial, _seed in trials for name in trial.scenario.places):
            self._start(name)
        with ThreadPoolExecutor(jobs) as pool:
            lanes = [pool.submit(self._work) for _ in range(jobs)]
            try:
                for lane in lanes:
                    lane.result()
            except BaseException:
                # A signal, or a fault of the ledger's own: trials that run end, so that servers can be ended.
                self._stop.set()
                raise

    def _start(self, name: str) -> None:
        self._progress.note(f"starting {name} …")
        try:
            self._servers.get(name)
        except Unavailable as reason:
            missing = [each for each in self._waiting if name in each[1].scenario.places]
            self._waiting = [each for each in self._waiting if each not in missing]
            for _number, trial, _seed in missing:
                self._progress.skip(trial.name, str(reason))
                self.skipped.append(Skipped(trial.scenario.name, trial.fault_names, str(reason), reason.required))

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            number, trial, seed = taken
            try:
                self._progress.begin(trial.name)
                self._found[number] = run(trial, self._servers, seed, self._stop)
                self._progress.end(self._found[number])
            except BaseException:
                with self._changed:
                    self._waiting.clear()
                raise
            finally:
                with self._changed:
                    for name in trial.scenario.places:
                        self._in_use.remove(name)
                    self._alone_runs = False
                    self._changed.notify_all()

    def _take(self) -> tuple[int, Trial, int] | None:
        with self._changed:
            while self._waiting:
                for each in self._waiting:
                    trial = each[1]
                    free = not self._in_use if trial.alone else not set(trial.scenario.places) & set(self._in_use)
                    if free and not self._alone_runs:
                        self._waiting.remove(each)
                        self._in_use += trial.scenario.places
                        self._alone_runs = trial.alone
                        return each
                self._changed.wait()
            return None
