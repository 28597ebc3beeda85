"""What became of the messages of a run, in a line for each engine."""

from __future__ import annotations

from penstock.metric_list import FUNCTION_FAILURES, OUTCOMES, RECEIVED, SETTLED
from penstock.metrics import EngineMetrics


def summary(counters: EngineMetrics) -> str:
    """`engine 'till', queue 'orders': 4 received, 3 succeeded, 1 dead-lettered; 3 calls failed`."""
    counts = counters.counts()
    app, queue, _connector = counters.labels
    settled = [(outcome.replace("_", "-"), counts[SETTLED, outcome]) for outcome in OUTCOMES]
    told = [f"{counts[RECEIVED, '']:,} received", *(f"{count:,} {outcome}" for outcome, count in settled if count)]
    failed = sum(count for (metric, _type), count in counts.items() if metric is FUNCTION_FAILURES)
    failures = f"; {failed:,} call{'' if failed == 1 else 's'} failed" if failed else ""
    return f"engine {app!r}, queue {queue!r}: {', '.join(told)}{failures}"
