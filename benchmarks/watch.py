"""Runs engines as `Engine.run` does, and stops them once they have settled enough messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.clock import Clock
from penstock.config.model import WorkerSettings
from penstock.events import Consumed, Event, Settled
from penstock.worker.worker import Worker

if TYPE_CHECKING:
    from penstock import Engine


class _Watch:
    """Runs beside an engine in its worker, and observes it: starts the clock at the first message, stops the worker
    after the last. It must cost nothing itself, so it never looks by itself."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._settled = 0
        self._clock = Clock()
        self._stopped = asyncio.Event()
        self.worker: Worker

    def observe(self, event: Event) -> None:
        """Count what is settled."""
        if isinstance(event, Consumed):
            self._clock.go()
        elif isinstance(event, Settled):
            self._settled += len(event.messages)
            if self._settled >= self._messages and not self._stopped.is_set():
                self._stopped.set()
                self._clock.show(self._settled)
                self.worker.stop()

    def start(self, *_boards: object) -> _Watch:
        """See `Runnable`."""
        return self

    async def run(self, *_timeouts: object) -> None:
        """See `Running`."""
        await self._stopped.wait()

    def stop(self) -> None:
        """See `Running`."""
        self._stopped.set()


def run(app: Engine, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, and print the result."""
    watch = _Watch(messages)
    app.observer(watch.observe)
    watch.worker = Worker([app, watch], WorkerSettings(metrics_port=None))
    watch.worker.run()
