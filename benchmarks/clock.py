"""What a contender prints: one JSON line."""

from __future__ import annotations

import json
import time


class Clock:
    """Starts at the first message, so that joining a group is not counted, and ends when the last one is settled."""

    def __init__(self) -> None:
        self._start: float | None = None

    def go(self) -> None:
        """The first message is there. Later calls change nothing."""
        if self._start is None:
            self._start, self._cpu = time.perf_counter(), time.process_time()

    def show(self, messages: int) -> None:
        """Print the result of `messages` messages."""
        assert self._start is not None, "no message came"
        seconds = time.perf_counter() - self._start
        cpu = time.process_time() - self._cpu
        print(json.dumps({"messages": messages, "seconds": seconds, "cpu_seconds": cpu}), flush=True)
