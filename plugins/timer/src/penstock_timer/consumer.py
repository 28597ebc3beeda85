"""Ticks out of a clock, one at a time; the last one that is settled is stored."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import cast

from penstock.backoff import Backoff
from penstock.checkpoints import Checkpoints, SourceMessage
from penstock.connectors import Consumer
from penstock.message import QueueMessage
from penstock.polling import Poller
from penstock_timer.options import TimerOptions
from penstock_timer.schedule import Schedule

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1  # seconds between two looks at the clock; a tick is at most so late

log = logging.getLogger("penstock.timer")


class TimerConsumer(Consumer):
    """The only one that ticks, where a file keeps the last tick; others stand by."""

    options: TimerOptions

    def __init__(self, name: str, options: TimerOptions) -> None:
        super().__init__(name, options)
        self._schedule = Schedule(options)
        self._checkpoints = Checkpoints(name, options.state, log)
        self._poller = Poller(Backoff(initial=FIRST_PAUSE, maximum=LONGEST_PAUSE, jitter=0.0))
        self._last: float | None = None  # the newest tick that was made, or passed over

    async def connect(self) -> None:
        """See `Consumer.connect`."""
        await self._owns()

    async def _owns(self) -> bool:
        owns = await self._checkpoints.own()
        if owns and self._last is None:
            known = self._checkpoints.state
            self._last = time.time() if known is None or self.options.missed == "skip" else known["last"]
            # Else a tick would be missed without a trace, if the first worker died with it.
            self._checkpoints.add((), {"last": self._last})
            await self._checkpoints.store()
        return owns

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. The next tick waits until the one before is settled, unless `missed` is `all`."""
        return await self._poller.poll(lambda: self._look(max_messages), timeout)

    async def _look(self, max_messages: int) -> Sequence[SourceMessage]:
        if not await self._owns():
            return []
        every = self.options.missed == "all"
        if every or not self._checkpoints.unsettled:
            ticks, count = self._schedule.due(
                cast(float, self._last), time.time(), self.options.max_missed if every else 1
            )
            for tick in ticks:
                self._checkpoints.add([self._message(tick, 0 if every else count - 1)], {"last": tick})
                self._last = tick
        return self._checkpoints.take(max_messages)

    def _message(self, tick: float, missed: int) -> SourceMessage:
        at = datetime.fromtimestamp(tick, self._schedule.zone).isoformat()
        return SourceMessage(at, json.dumps({"at": at, "missed": missed}).encode(), at, tick, identity=at)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`: the tick is stored before this returns."""
        late = await self._checkpoints.succeed(cast(Sequence[SourceMessage], messages))
        self._poller.wake()
        return late

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: kept in memory; after a crash the stored tick is the one before."""
        late = self._checkpoints.requeue(cast(Sequence[SourceMessage], messages), delay)
        self._poller.wake()
        return late

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`: another worker may tick."""
        await self._checkpoints.close()
