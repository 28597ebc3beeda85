"""Runs engines as `Engine.run` does, and stops them once they have settled enough messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.clock import Clock
from penstock.config.model import WorkerSettings
from penstock.worker.worker import Worker

if TYPE_CHECKING:
    from penstock import Engine

LOOK = 0.002  # seconds between two looks at how far it is


class _Watch:
    """Runs beside an engine in its worker: starts the clock at the first message, stops the worker after the last."""

    def __init__(self, app: Engine, messages: int) -> None:
        self._app = app
        self._messages = messages
        self._clock = Clock()
        self._stopped = asyncio.Event()
        self.worker: Worker

    def start(self, *_boards: object) -> _Watch:
        """See `Runnable`."""
        return self

    async def run(self, *_timeouts: object) -> None:
        """See `Running`."""
        pipeline = self._app.pipeline
        assert pipeline is not None, "the engine is started first"
        while pipeline.done < self._messages and not self._stopped.is_set():
            await asyncio.sleep(LOOK)
            if pipeline.in_flight or pipeline.done:
                self._clock.go()
        if pipeline.done >= self._messages:
            self._clock.show(pipeline.done)
        self.worker.stop()

    def stop(self) -> None:
        """See `Running`."""
        self._stopped.set()


def run(app: Engine, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, and print the result."""
    watch = _Watch(app, messages)
    watch.worker = Worker([app, watch], WorkerSettings(metrics_port=None))
    watch.worker.run()
