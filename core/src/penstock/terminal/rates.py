"""What one engine does now, from what it has counted: rates are those of the last seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from penstock.observability.counting import EngineMetrics
from penstock.observability.metric_definitions import FUNCTION_FAILURES, FUNCTION_TIME, IN_FLIGHT, LAG, SETTLED

WINDOW = 10.0  # seconds that a rate is about
SHARE = 0.95  # of the calls, for `call_seconds`


@dataclass(frozen=True, slots=True)
class Numbers:
    """What one engine does now.

    Attributes:
        rate: Messages settled in a second.
        lag: Messages that wait in the input queue; None if that is not known.
        in_flight: Messages received and not settled.
        failed: Calls of the function that failed since the start, by message.
        dead: Messages dead-lettered since the start.
        settled: Messages settled since the start, whatever became of them.
        call_seconds: 95 of 100 messages took the function this long at most, rounded up to a bound of the metric's
            buckets; None without calls, infinite beyond the last bound.
    """

    rate: float
    lag: int | None
    in_flight: int
    failed: int
    dead: int
    settled: int
    call_seconds: float | None


@dataclass(frozen=True, slots=True)
class _Sample:
    time: float
    settled: int
    calls: Sequence[int]  # by bucket


class Rates:
    """Remembers samples of one engine's counters.

    Args:
        counters: The engine's.
        now: The time by `monotonic`.
    """

    def __init__(self, counters: EngineMetrics, now: float) -> None:
        self.engine, self.queue, self.connector = counters.labels
        self._counters = counters
        self._samples = deque([_Sample(now, 0, [0] * (len(FUNCTION_TIME.bounds) + 1))])

    def numbers(self, now: float) -> Numbers:
        """What the engine does now; the rate is that of the last `WINDOW`, or since the last call if that is longer."""
        counts, gauges = self._counters.counts(), self._counters.gauges()
        settled = sum(count for (metric, _outcome), count in counts.items() if metric is SETTLED)
        times = self._counters.histograms().get((FUNCTION_TIME, ""))
        first = self._samples[0]
        sample = _Sample(now, settled, first.calls if times is None else times.counts)
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].time <= now - WINDOW:
            self._samples.popleft()
        first = self._samples[0]
        lag = gauges.get((LAG, ""))
        return Numbers(
            rate=(settled - first.settled) / max(now - first.time, 0.001),
            lag=None if lag is None else int(lag),
            in_flight=int(gauges.get((IN_FLIGHT, ""), 0)),
            failed=sum(count for (metric, _type), count in counts.items() if metric is FUNCTION_FAILURES),
            dead=counts[SETTLED, "dead_lettered"],
            settled=settled,
            call_seconds=_bound([after - before for before, after in zip(first.calls, sample.calls, strict=True)]),
        )


def _bound(calls: Sequence[int]) -> float | None:
    """The upper bound of the bucket in which the slowest of `SHARE` of the calls is."""
    if not (total := sum(calls)):
        return None
    bounds = (*FUNCTION_TIME.bounds, float("inf"))
    return next(bound for bound, count in zip(bounds, accumulate(calls), strict=True) if count >= SHARE * total)
