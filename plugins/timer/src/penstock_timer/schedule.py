"""When ticks are due. Times are seconds since the epoch."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from penstock_timer.options import TimerOptions

LONGEST_BACK = 7 * 86_400.0  # seconds; ticks of a cron expression that are older are not looked for


class Schedule:
    """The ticks of one timer."""

    def __init__(self, options: TimerOptions) -> None:
        self._every = options.every
        self._cron = options.cron or ""
        self.zone = ZoneInfo(options.zone)

    def due(self, after: float, now: float, most: int) -> tuple[list[float], int]:
        """The newest ticks after one time and until another, the oldest first, and how many there are in all."""
        if self._every is not None:
            first, last = math.floor(after / self._every) + 1, math.floor(now / self._every)
            count = max(0, last - first + 1)
            return [(last - back) * self._every for back in reversed(range(min(count, most)))], count
        newest: deque[float] = deque(maxlen=most)
        count = 0
        for tick in takewhile(lambda tick: tick <= now, self._ticks(max(after, now - LONGEST_BACK))):
            newest.append(tick)
            count += 1
        return list(newest), count

    def _ticks(self, after: float) -> Iterator[float]:
        """All ticks of the cron expression after a time. In summer time's hours they are those of Debian's cron."""
        return (found.timestamp() for found in CronSim(self._cron, datetime.fromtimestamp(after, self.zone)))
