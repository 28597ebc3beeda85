"""Every metric of an engine: name, type, labels, buckets and meaning. The manual is made from `METRICS`.

Labels hold names that a configuration or the code gives, never a key, an id or the text of an exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MOST_NAMES = 50  # of exceptions, and of events, per engine; past that "other", so that none can flood the time series

_CALL_SECONDS = (0.00001, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
_PRODUCE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_END_TO_END_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_BATCH_MESSAGES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: it is half of a key that is hashed on every count
class Metric:
    """One row of the list.

    Attributes:
        name: As Prometheus shows it (a histogram also as `_bucket`, `_sum` and `_count`).
        type: "counter", "histogram" or "gauge".
        help: What it counts, and in what.
        label: What it is split by, beside `app`, `queue` and `connector`; "" if by nothing.
        bounds: Upper bounds of a histogram's buckets, +Inf left out.
        merge: How two engines with the same app, queue and connector in one worker are shown as one.
    """

    name: str
    type: Literal["counter", "histogram", "gauge"]
    help: str
    label: str = ""
    bounds: tuple[float, ...] = ()
    merge: Literal["sum", "max", "min"] = "sum"

    @property
    def labels(self) -> tuple[str, ...]:
        """All label names, in order."""
        return (*ENGINE_LABELS, self.label) if self.label else ENGINE_LABELS


ENGINE_LABELS = ("app", "queue", "connector")
"""On every metric of an engine: its app name, its input queue, and that queue's connector."""

OUTCOMES = ("succeeded", "dead_lettered", "requeued", "skipped", "superseded", "late", "unsettled")
STAGES = ("decode", "validate", "function", "output", "produce", "delivery")

RECEIVED = Metric("penstock_messages_received_total", "counter", "Messages that the input queue delivered.")
SETTLED = Metric(
    "penstock_messages_settled_total",
    "counter",
    "Messages by what became of them, each counted in one outcome, once the backend has confirmed it: succeeded; "
    "dead_lettered; requeued; skipped (settled without a result, as configured); superseded (settled with a newer "
    "message of its key, where only the latest is wanted); late (lost to another consumer before it was to be settled, "
    "which decides); unsettled (not settled when the engine ended, to be redelivered). Their sum is what was received, "
    "less what is in flight.",
    "outcome",
)
DEAD_LETTERS = Metric(
    "penstock_dead_letters_total",
    "counter",
    "Messages stored in the dead-letter queue, by the stage that failed: decode, validate, function, output, produce, "
    "delivery.",
    "stage",
)
FUNCTION_FAILURES = Metric(
    "penstock_function_failures_total",
    "counter",
    "Messages for which a call of the function raised, once for each attempt, by the exception's class; 'other' after "
    f"the first {MOST_NAMES} classes.",
    "exception_type",
)
RETRIES = Metric("penstock_function_retries_total", "counter", "Messages that the function is given once more.")
PRODUCED = Metric(
    "penstock_records_produced_total", "counter", "Records that the backend of an output queue confirmed.", "to_queue"
)
PRODUCE_FAILURES = Metric(
    "penstock_records_failed_total",
    "counter",
    "Records that the backend of an output queue refused or did not confirm, once for each attempt.",
    "to_queue",
)
LATE_SETTLEMENTS = Metric(
    "penstock_late_settlements_total",
    "counter",
    "Messages settled, or requeued, after their lease or partition was lost; left alone, and processed again by the "
    "new owner. The same number as the outcome late.",
)
RECONNECTS = Metric(
    "penstock_reconnects_total", "counter", "Connections lost, and made again, by the queue they lead to.", "to_queue"
)
BATCH_SIZE = Metric("penstock_batch_messages", "histogram", "Messages in a batch.", bounds=_BATCH_MESSAGES)
FUNCTION_TIME = Metric(
    "penstock_function_seconds",
    "histogram",
    "Seconds that the function takes for a message, with the decoding of the message and the encoding of its outputs. "
    "Sums and counts are exact; a bucket counts each message of a batch with the batch's mean.",
    bounds=_CALL_SECONDS,
)
PRODUCE_TIME = Metric(
    "penstock_produce_seconds",
    "histogram",
    "Seconds until an output queue's backend has answered for all records of a batch.",
    "to_queue",
    bounds=_PRODUCE_SECONDS,
)
END_TO_END = Metric(
    "penstock_end_to_end_seconds",
    "histogram",
    "Seconds from the backend's timestamp of a message to its settlement, for one message a batch.",
    bounds=_END_TO_END_SECONDS,
)
MIDDLEWARE_EVENTS = Metric(
    "penstock_middleware_events_total",
    "counter",
    "Events that middleware counts, such as timeout (a call that took too long), by name; 'other' after the first "
    f"{MOST_NAMES} names.",
    "event",
)
IN_FLIGHT = Metric("penstock_messages_in_flight", "gauge", "Messages delivered and not yet settled.")
OLDEST_IN_FLIGHT = Metric(
    "penstock_oldest_in_flight_seconds",
    "gauge",
    "Seconds since the oldest message in flight was delivered.",
    merge="max",
)
LAG = Metric(
    "penstock_lag_messages",
    "gauge",
    "Messages that wait in the input queue, those in flight not counted; absent where the backend cannot tell.",
    merge="max",
)
RETAINED = Metric(
    "penstock_retained_bytes",
    "gauge",
    "Bytes that the backend keeps because of messages that are not settled yet, as the log behind a replication slot; "
    "absent where nothing is kept, or the backend cannot tell.",
    merge="max",
)
CONNECTED = Metric(
    "penstock_connected", "gauge", "1 if the queue's backend is connected, else 0.", "to_queue", merge="min"
)

METRICS: tuple[Metric, ...] = (
    RECEIVED,
    SETTLED,
    DEAD_LETTERS,
    FUNCTION_FAILURES,
    RETRIES,
    PRODUCED,
    PRODUCE_FAILURES,
    LATE_SETTLEMENTS,
    RECONNECTS,
    BATCH_SIZE,
    FUNCTION_TIME,
    PRODUCE_TIME,
    END_TO_END,
    MIDDLEWARE_EVENTS,
    IN_FLIGHT,
    OLDEST_IN_FLIGHT,
    LAG,
    RETAINED,
    CONNECTED,
)
"""Every metric of an engine. Beside them a worker shows `penstock_build_info` and the usual `process_*`."""
