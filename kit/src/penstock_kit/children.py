"""Child processes that work on a queue, and the means to kill, freeze and resume them."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from penstock_kit import child, engine_child
from penstock_kit.alone import as_json
from penstock_kit.broken import Broken
from penstock_kit.limits import until

if TYPE_CHECKING:
    from penstock.specs import ConnectorSpec
    from penstock_kit.kit import Kit

START_LIMIT = 60.0  # seconds for a process to start and import a client library, on a busy machine

# Forked from a server that has imported the core and the connector: a fresh Python would spend one to three seconds of
# CPU on that, for each child.
_FORKSERVER = multiprocessing.get_context("forkserver")

_warm: list[str] = []  # the modules that the server imports

_ONE_AT_A_TIME = Lock()  # multiprocessing looks after all children whenever one starts, from whatever thread

PROGRAMS = {"child": child.main, "engine_child": engine_child.main}


def _run(program: str, job: dict[str, Any], go: Connection, errors: Path, environment: dict[str, str]) -> None:
    """Runs in the child."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), 2)
    # The server has the environment of the time when it was started.
    os.environ.clear()
    os.environ.update(environment)
    PROGRAMS[program](job, go.recv)


def _warm_up(spec: ConnectorSpec) -> None:
    """Let the server import what children on this connector need, while none of them is alive."""
    targets = [target.partition(":")[0] for target in (spec.consumer, spec.producer, spec.options) if target]
    # Only what is known to load: another error than ImportError would end the server.
    modules = [child.__name__, engine_child.__name__, *(each for each in targets if each in sys.modules)]
    if set(modules) <= set(_warm):
        return
    _warm[:] = modules
    # A running server imports nothing more; Python starts another one when it finds it dead.
    if (server := getattr(forkserver._forkserver, "_forkserver_pid", None)) is not None:
        os.kill(server, signal.SIGKILL)
        os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    _FORKSERVER.set_forkserver_preload(_warm)


class Child:
    """A process that runs `child.py`, or another program of the kit, with one job."""

    def __init__(self, directory: Path, job: dict[str, Any], program: str = "child") -> None:
        self._log = directory / "log"
        self._errors = directory / "stderr"
        as_json(job)  # refuses what another process cannot be given
        self._log.touch()
        self._errors.touch()
        theirs, self._go = _FORKSERVER.Pipe(duplex=False)
        self._process = _FORKSERVER.Process(
            target=_run,
            args=(program, {"log": str(self._log), **job}, theirs, self._errors, dict(os.environ)),
            daemon=True,
        )
        with _ONE_AT_A_TIME:
            self._process.start()
        theirs.close()

    @property
    def _code(self) -> int | None:
        """The exit code; None while it runs."""
        with _ONE_AT_A_TIME:
            return self._process.exitcode

    def lines(self, word: str) -> list[bytes]:
        """The rest of each line of the log that begins with `word`."""
        text = self._log.read_bytes()
        # The last line may be incomplete.
        complete = text[: text.rfind(b"\n") + 1].splitlines()
        return [line[len(word) + 1 :] for line in complete if line.split(b" ", 1)[0] == word.encode()]

    async def wait_for(self, word: str, count: int = 1, seconds: float = START_LIMIT) -> list[bytes]:
        """Wait until there are `count` lines of `word`. Fails at once if the process has ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        while len(found := self.lines(word)) < count:
            if (code := self._code) is not None:
                raise Broken(
                    f"a worker process ended by itself with exit code {code}:\n{self.said()}\n"
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
        """Let it continue: from "loaded" to its work, or to its next step."""
        self._go.send("go")

    def kill(self) -> None:
        """Send SIGKILL. Returns when the process has ended."""
        self._signal(signal.SIGKILL)
        while self._code is None:
            time.sleep(0.001)

    async def kill_in_the_middle(self, seconds: float) -> None:
        """Send SIGKILL when it has processed messages and not begun to settle them; at the latest after `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        self.freeze()  # so that nothing happens between looking and killing
        while len(self.lines("did")) == len(self.lines("settles")) and asyncio.get_running_loop().time() < deadline:
            self.thaw()
            await asyncio.sleep(0.002)
            self.freeze()
        self.kill()

    def interrupt(self, number: signal.Signals) -> None:
        """Send SIGTERM or SIGINT, as a supervisor or Ctrl-C does."""
        self._signal(number)

    async def ended(self, seconds: float) -> int:
        """Wait until it has ended by itself. Returns its exit code."""
        if not await until(lambda: self._code is not None, seconds):
            raise Broken(
                f"a worker process ends when it is told to; it had not after {seconds:g} s:\n{self.said()}\n"
                "    look at: what connect, consume and shutdown wait for; a thread that is not a daemon"
            )
        return self._code or 0

    def _signal(self, number: signal.Signals) -> None:
        if self._code is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def freeze(self) -> None:
        """Send SIGSTOP: it is alive, but does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT: it continues."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, if it still runs."""
        if self._code is None:
            self.kill()
        self._go.close()

    def said(self) -> str:
        """The end of its standard error."""
        return self._errors.read_text(errors="replace")[-2000:]


@contextmanager
def children(kit: Kit) -> Iterator[ChildMaker]:
    """Starts child processes, and ends them at the end of the block."""
    _warm_up(kit.spec)
    with tempfile.TemporaryDirectory(prefix="penstock-conformance-") as directory:
        maker = ChildMaker(kit, Path(directory))
        try:
            yield maker
        finally:
            for child in maker.made:
                child.close()


class ChildMaker:
    """Starts child processes on a kit's queue; the value of `children`."""

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
        # A short lease, so that the messages of a killed process come again soon.
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
