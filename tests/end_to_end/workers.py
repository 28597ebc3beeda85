"""Worker processes for tests: `penstock run` started, watched, killed or stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

APPS = Path(__file__).parent / "apps"
TIMEOUT = 90.0  # seconds that a test waits for what must happen


class Worker:
    """One `penstock run` process."""

    def __init__(self, *arguments: str | Path, cwd: Path | None = None) -> None:
        self._log = (
            Path(f"{arguments[0]}.{time.monotonic_ns()}.log") if cwd is None else cwd / f"{time.monotonic_ns()}.log"
        )
        command = [sys.executable, "-m", "penstock.cli.main", "run", *map(str, arguments)]
        self._out = self._log.open("wb")
        self.process = subprocess.Popen(command, stdout=self._out, stderr=subprocess.STDOUT, cwd=cwd)

    @property
    def output(self) -> str:
        """What it has written to both streams."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self, within: float = 10.0) -> tuple[int, float]:
        """SIGTERM; the exit code, and the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(within)
        return code, time.monotonic() - started

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.kill()
        self._out.close()


@contextmanager
def worker(*arguments: str | Path, cwd: Path) -> Iterator[Worker]:
    """A worker that is killed at the end of the block."""
    running = Worker(*arguments, cwd=cwd)
    try:
        yield running
    finally:
        running.close()


def wait_until(true: Callable[[], bool], what: str, watched: Sequence[Worker] = (), timeout: float = TIMEOUT) -> None:
    """Look until something is true; a worker that ended meanwhile fails the test with what it wrote."""
    deadline = time.monotonic() + timeout
    while not true():
        for each in watched:
            code = each.process.poll()
            assert code is None, f"waiting for {what}: a worker ended with {code}:\n{each.output}"
        tail = "\n".join(each.output[-3000:] for each in watched)
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s\n{tail}"
        time.sleep(0.02)
