"""librdkafka's mock cluster in a child process, for machines without Java."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.kafka.server import KafkaServer

PROGRAM = Path(__file__).with_name("mock_cluster.py")


class MockCluster(KafkaServer):
    """A substitute with one broker. `kill` only cuts it off: its process holds its log."""

    real: ClassVar[bool] = False

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.bootstrap = self._answer()["bootstrap"]

    def topic(self, name: str | None = None, partitions: int = 4) -> str:
        topic = name or f"test-{uuid.uuid4().hex[:12]}"
        self._do("topic", name=topic, partitions=partitions)
        return topic

    def start(self) -> None:
        self._do("up")

    def kill(self) -> None:
        self._do("down")

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        with self._process:
            self._process.kill()

    def refuse(self, api: int, codes: list[int]) -> None:
        """Answer the next requests of a kind with these errors, one each.

        Args:
            api: The kind's number in Kafka's protocol (0 Produce, 8 OffsetCommit).
            codes: Kafka's error codes.
        """
        self._do("refuse", api=api, codes=codes)

    def _do(self, what: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        error = self._answer()["error"]
        # A topic that exists already (36) is not an error, as with a real broker.
        if error not in (0, 36):
            raise RuntimeError(f"the mock cluster refused {what} {arguments}: error {error}")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the mock cluster ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
