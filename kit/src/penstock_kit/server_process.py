"""A real server for tests: started, killed, paused, with its data kept.

class AcmeServer(ServerProcess):
    def __init__(self, folder):
        self.port = free_port()
        super().__init__(["acme-server", "--port", str(self.port), "--data", folder], self._answers, folder / "log")

class AcmeBackend(BackendFixture):
    stop_backend, start_backend, restart_backend = server.kill, server.start, server.restart
    pause_backend, resume_backend = server.pause, server.resume
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LOG_SHOWN = 2_000  # characters at the end of a log


class ServerProcess:
    """One server. What it did before a kill is there after the next start, if the server keeps it.

    Args:
        command: The program and its arguments; always the same, so the server comes back on the same port.
        answers: Whether the server is ready: it must have loaded its data, not only opened its port.
        log: The file that gets the server's output.
        environment: Its environment variables; None: ours.
        timeout: Seconds that a start or a stop may take.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        answers: Callable[[], bool],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float = 20.0,
    ) -> None:
        self._command = [str(word) for word in command]
        self._answers = answers
        self._log = log
        self._environment = environment
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers.

        Raises:
            RuntimeError: it is running already, or it ended, or did not answer in time; with the end of its log.
        """
        if self._process is not None:
            raise RuntimeError(f"{self._command[0]} is running; kill() it first")
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  (the test's own command)
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment
            )
        deadline = time.monotonic() + self._timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._command[0]} did not start:\n{self._log.read_text()[-LOG_SHOWN:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, as in a crash; nothing if it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""
        process = self._running()
        process.terminate()
        process.wait(self._timeout)
        self._process = None

    def restart(self) -> None:
        """`kill` and `start`: connections are gone, what was confirmed is not."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP, and wait until it has stopped: connections stay, nothing answers."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        # The signal is only sent by then; for a moment the server's threads would still answer.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self._command[0]} is not running; start() it first")
        return self._process


def free_port() -> int:
    """A port of the loopback that no server has, and that no outgoing connection is given while a server is away."""
    choose = random.SystemRandom().randrange  # the same seed in several processes would choose the same ports
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = choose(15_000, 32_000)
            probe.bind(("127.0.0.1", port))
            return port
