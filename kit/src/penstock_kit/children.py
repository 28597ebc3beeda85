"""Child processes that work on a queue, and the hand that kills, freezes and thaws them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock_kit.alone import as_json
from penstock_kit.broken import Broken
from penstock_kit.limits import until

if TYPE_CHECKING:
    from penstock_kit.kit import Kit

START_LIMIT = 30.0  # seconds for a Python to start and import a client library, on a busy machine


class Child:
    """A process that runs `child.py`, or another program of the kit, with one job."""

    def __init__(self, directory: Path, job: dict[str, Any], program: str = "child") -> None:
        self._log = directory / "log"
        self._errors = directory / "stderr"
        job_file = directory / "job.json"
        job_file.write_text(as_json({"log": str(self._log), **job}))
        self._log.touch()
        # The parent's path: a plugin that is found here is found there.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  (our own program)
                [sys.executable, "-m", f"penstock_kit.{program}", str(job_file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
            )

    def lines(self, word: str) -> list[bytes]:
        """What followed `word` in each line of the log that begins with it."""
        text = self._log.read_bytes()
        # A line that is being written has no end yet.
        complete = text[: text.rfind(b"\n") + 1].splitlines()
        return [line[len(word) + 1 :] for line in complete if line.split(b" ", 1)[0] == word.encode()]

    async def wait_for(self, word: str, count: int = 1, seconds: float = START_LIMIT) -> list[bytes]:
        """Wait until there are so many lines of `word`; at once if the process has ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        while len(found := self.lines(word)) < count:
            if self._process.poll() is not None:
                raise Broken(
                    f"a worker process ended by itself with exit code {self._process.returncode}:\n{self.said()}\n"
                    "    look at: what the connector raises in a process of its own"
                )
            if asyncio.get_running_loop().time() > deadline:
                raise Broken(
                    f"a worker process did not come to {word!r} within {seconds:g} s ({len(found)} of {count}):\n"
                    f"{self.said()}\n    look at: whether the queue can be reached from another process with the "
                    "backend fixture's config, and how soon"
                )
            await asyncio.sleep(0.002)
        return found

    def go(self) -> None:
        """Let it go on: from "loaded" to its work, or from one step to the next."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL: no goodbye. Returns when it is gone."""
        self._process.kill()
        self._process.wait()

    async def kill_in_the_middle(self, seconds: float) -> None:
        """SIGKILL when it has done messages that it has not begun to settle; after so many seconds in any case."""
        deadline = asyncio.get_running_loop().time() + seconds
        self.freeze()  # looking and killing are one moment
        while len(self.lines("did")) == len(self.lines("settles")) and asyncio.get_running_loop().time() < deadline:
            self.thaw()
            await asyncio.sleep(0.002)
            self.freeze()
        self.kill()

    def interrupt(self, number: signal.Signals) -> None:
        """SIGTERM or SIGINT: what a supervisor sends, or Ctrl-C."""
        self._process.send_signal(number)

    async def ended(self, seconds: float) -> int:
        """Wait until it has ended by itself; returns its exit code."""
        if not await until(lambda: self._process.poll() is not None, seconds):
            raise Broken(
                f"a worker process ends when it is told to; it had not after {seconds:g} s:\n{self.said()}\n"
                "    look at: what connect, consume and shutdown wait for; a thread that is no daemon"
            )
        return self._process.returncode

    def freeze(self) -> None:
        """SIGSTOP: alive, and does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Whatever happened, it is gone afterwards."""
        if self._process.poll() is None:
            self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def said(self) -> str:
        """The end of what it wrote to its standard error."""
        return self._errors.read_text(errors="replace")[-2000:]


@contextmanager
def children(kit: Kit) -> Iterator[ChildMaker]:
    """Makes child processes, and ends them with the block."""
    with tempfile.TemporaryDirectory(prefix="penstock-conformance-") as directory:
        maker = ChildMaker(kit, Path(directory))
        try:
            yield maker
        finally:
            for child in maker.made:
                child.close()


class ChildMaker:
    """Starts children on a kit's queue; what `children` yields."""

    def __init__(self, kit: Kit, directory: Path) -> None:
        self._kit = kit
        self._directory = directory
        self.made: list[Child] = []

    def start(self, do: str, role: str = "input", **job: Any) -> Child:
        """Start a process that loads everything and waits for `go`.

        Args:
            do: A function of `child.py`: "work", "hold", "block", "send".
            role: "input" or "output".
            **job: Its arguments.
        """
        # With a short lease, so that what a dead process held comes again soon.
        over = self._kit.backend.short_lease if role == "input" else {}
        settings = self._kit.config(**over)
        return self._make({"do": do, "role": role, "settings": settings, "seed": 0, **job}, "child")

    def start_engine(self, queues: list[dict[str, Any]], **job: Any) -> Child:
        """Start a process that runs an engine between these queues, from `go` on.

        Args:
            queues: Its configuration.
            **job: See `engine_child.py`.
        """
        return self._make({"queues": queues, **job}, "engine_child")

    def _make(self, job: dict[str, Any], program: str) -> Child:
        place = self._directory / str(len(self.made))
        place.mkdir()
        child = Child(place, job, program)
        self.made.append(child)
        return child
