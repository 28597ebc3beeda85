"""Runs trials, several at a time as long as they hurt different servers: most of a trial is waiting."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.report import Failed, Progress, Skipped
from tests.chaos.rounds import Result, run
from tests.chaos.scenarios import Trial
from tests.chaos.servers import Servers, Unavailable
from tests.chaos.waiting import Stop, Stopped

INTERRUPTED = "the run was interrupted"


class Runner:
    """Runs trials and keeps what they found.

    Attributes:
        results: In the order in which the trials were given.
        skipped: Those whose servers cannot be had here, and those that the end of the run left out.
        failed: Those that a fault of the ledger ended.
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
        self.failed: list[Failed] = []

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
        pool = ThreadPoolExecutor(jobs)
        try:
            # Started one after the other: two at a time would each think that the server is not there yet.
            for name in dict.fromkeys(name for trial, _seed in trials for name in trial.scenario.places):
                self._start(name)
            for lane in [pool.submit(self._work) for _ in range(jobs)]:
                lane.result()
        except BaseException:
            # A signal: trials that run end, so that servers can be ended.
            self._stop.set()
            self._leave_out(self._waiting, Unavailable(INTERRUPTED, required=False))
            raise
        finally:
            pool.shutdown()

    def _start(self, name: str) -> None:
        self._progress.note(f"starting {name} …")
        try:
            self._servers.get(name)
        except Unavailable as reason:
            self._leave_out([each for each in self._waiting if name in each[1].scenario.places], reason)

    def _leave_out(self, trials: Sequence[tuple[int, Trial, int]], reason: Unavailable) -> None:
        with self._changed:
            self._waiting = [each for each in self._waiting if each not in trials]
        for _number, trial, _seed in trials:
            self._progress.skip(trial.name, str(reason))
            self.skipped.append(Skipped(trial.scenario.name, trial.fault_names, str(reason), reason.required))

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            number, trial, seed = taken
            try:
                self._progress.begin(trial.name)
                self._found[number] = run(trial, self._servers, seed, self._stop)
                self._progress.end(self._found[number])
            except Stopped:
                self._leave_out([taken], Unavailable(INTERRUPTED, required=False))
            except Exception as fault:  # noqa: BLE001  (the others go on)
                self.failed.append(Failed(trial, seed, f"{type(fault).__name__}: {fault}"))
                self._progress.fail(trial.name, traceback.format_exc())
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
