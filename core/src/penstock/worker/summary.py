"""What became of the messages of a run, in a line for each engine, and what is left of them."""

from __future__ import annotations

from penstock.observability.counting import EngineMetrics
from penstock.observability.metric_definitions import FUNCTION_FAILURES, OUTCOMES, RECEIVED, SETTLED
from penstock.pipeline.state import Ending


def summary(counters: EngineMetrics) -> str:
    """`engine 'till', queue 'orders': 4 received, 3 succeeded, 1 dead-lettered; 3 calls failed`.

    The number received is the sum of the numbers after it.
    """
    counts = counters.counts()
    app, queue, _connector = counters.labels
    settled = [(outcome.replace("_", "-"), counts[SETTLED, outcome]) for outcome in OUTCOMES]
    settled.append(("in flight", counts[RECEIVED, ""] - sum(count for _outcome, count in settled)))
    parts = [f"{counts[RECEIVED, '']:,} received", *(f"{count:,} {outcome}" for outcome, count in settled if count)]
    failed = sum(count for (metric, _type), count in counts.items() if metric is FUNCTION_FAILURES)
    failures = f"; {failed:,} call{'' if failed == 1 else 's'} failed" if failed else ""
    return f"engine {app!r}, queue {queue!r}: {', '.join(parts)}{failures}"


def all_succeeded(counters: EngineMetrics) -> bool:
    """Whether all messages so far have succeeded, or were superseded as configured."""
    counts = counters.counts()
    return counts[RECEIVED, ""] == counts[SETTLED, "succeeded"] + counts[SETTLED, "superseded"]


def left_in(queue: str, ending: Ending | None) -> str | None:
    """`queue 'orders': 12 messages wait, 3 more were received and not settled`; None if nothing is left.

    Args:
        queue: The name of an engine's input queue.
        ending: How the engine ended; None if it never began.
    """
    waiting = None if ending is None else ending.waiting
    if ending is not None and waiting == 0 and not ending.unsettled and ending.clean:
        return None
    parts = [f"{waiting:,} messages wait" if waiting is not None else "how many messages wait is not known"]
    if ending is not None and ending.unsettled:
        parts.append(f"{ending.unsettled:,} more were received and not settled")
    if ending is not None and not ending.clean:
        parts.append("it did not close cleanly, so what was settled last may come again")
    return f"queue {queue!r}: {', '.join(parts)}"
