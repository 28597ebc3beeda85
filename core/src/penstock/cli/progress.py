"""Shows the progress of a run in one line of a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from time import monotonic

from penstock.cli.feed import Feed
from penstock.engine import Engine
from penstock.events import Consumed, Event, Settled
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health
from penstock.observability.printable import one_line

EVERY = 0.5  # seconds between two updates of the line


class Progress:
    """Writes to standard error, which must be a terminal."""

    def __init__(self, feeds: Sequence[Feed], engines: Sequence[Engine]) -> None:
        self._feeds = feeds
        self._received: Counter[str] = Counter({engine.app_name: 0 for engine in engines})
        self._settled: Counter[str] = Counter()
        self._requeued: Counter[str] = Counter()
        self._stopped = asyncio.Event()
        for engine in engines:
            engine.observer(self._observe)

    def start(self, health: Health, metrics: MetricsRegistry) -> Progress:  # noqa: ARG002  (it observes the engines)
        """Nothing to do."""
        return self

    async def run(self, connect_timeout: float | None, shutdown_timeout: float) -> None:  # noqa: ARG002  (it waits for nothing)
        """Update the line until stopped, then clear it."""
        while not self._stopped.is_set():
            sys.stderr.write("\r\x1b[K" + self._line())
            sys.stderr.flush()
            try:
                await asyncio.wait_for(self._stopped.wait(), EVERY)
            except TimeoutError:
                continue
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    def _line(self) -> str:
        parts = [f"fed {feed.fed:,}" for feed in self._feeds]
        for name, received in self._received.items():
            settled, requeued = self._settled[name], self._requeued[name]
            parts.append(f"{name}: {settled:,} done, {received - settled - requeued:,} in flight")
        return one_line(" | ".join(parts))[:100]

    def _observe(self, event: Event) -> None:
        if isinstance(event, Consumed):
            self._received[event.engine] += len(event.messages)
        elif isinstance(event, Settled):
            counter = self._requeued if event.outcome == "requeued" else self._settled
            counter[event.engine] += len(event.messages)

    def stop(self) -> None:
        """Stop writing."""
        self._stopped.set()

    def drain(self) -> None:
        """Nothing to do."""

    async def idle_since(self) -> float | None:
        """Always idle."""
        return monotonic()
