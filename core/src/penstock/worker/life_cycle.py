"""The lines of the log about a worker's life: what starts, what a stop waits for, and what became of the messages."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from time import monotonic
from typing import Protocol, runtime_checkable

from penstock.observability.counting import EngineMetrics
from penstock.observability.outages import duration
from penstock.version import __version__
from penstock.worker.status import EngineStatus
from penstock.worker.summary import summary

log = logging.getLogger("penstock")

STILL_EVERY = 5.0  # seconds between two lines about what a stop waits for


@runtime_checkable
class Waiting(Protocol):
    """A part of the worker that can say what its stop waits for."""

    def waits_for(self) -> str | None:
        """A sentence about what the stop waits for; None once the part has ended."""


def log_start(serves: str | None, engines: Iterable[EngineStatus]) -> None:
    """Log what starts: the worker, its address, and what each engine runs between."""
    log.info("starting Penstock %s, process %d, %s", __version__, os.getpid(), serves or "without health and metrics")
    for engine in engines:
        log.info("%s", engine.line, extra=engine.fields)


def log_summary(level: int, engines: Iterable[EngineMetrics]) -> None:
    """Log what became of the messages of each engine."""
    for counters in engines:
        log.log(level, "%s", summary(counters), extra=counters.fields)


async def log_stop(why: str, timeout: float, running: Iterable[object]) -> None:
    """Log what a stop waits for, and again every few seconds until this is cancelled."""
    begun = monotonic()
    waiting = [each for each in running if isinstance(each, Waiting)]
    log.info("stopping%s%s, for at most %g s; a second signal ends at once", why, _what(waiting), timeout)
    while True:
        await asyncio.sleep(STILL_EVERY)
        log.info("still stopping after %s%s", duration(monotonic() - begun), _what(waiting))


def _what(waiting: Iterable[Waiting]) -> str:
    texts = [text for each in waiting if (text := each.waits_for()) is not None]
    return f": {', '.join(texts)}" if texts else ""
