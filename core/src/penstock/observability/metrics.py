"""What an engine counts, bumped once a batch, and how Prometheus sees it when somebody asks.

`metric_definitions.py` defines the metrics.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from penstock.observability.metric_definitions import (
    BATCH_SIZE,
    CONNECTED,
    DEAD_LETTERS,
    END_TO_END,
    EXCEPTION_TYPES,
    FUNCTION_FAILURES,
    FUNCTION_TIME,
    IN_FLIGHT,
    LAG,
    LATE_SETTLEMENTS,
    METRICS,
    MIDDLEWARE_EVENTS,
    OLDEST_IN_FLIGHT,
    OUTCOMES,
    PRODUCE_FAILURES,
    PRODUCE_TIME,
    PRODUCED,
    RECEIVED,
    RECONNECTS,
    RETRIES,
    SETTLED,
    STAGES,
    Metric,
)
from penstock.version import __version__

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

log = logging.getLogger("penstock")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LABEL_LENGTH = 200  # characters of a label value that are kept

Key = tuple[Metric, str]
"""One time series of an engine: which metric, and the value of its own label ("" without one)."""


class Histogram:
    """Counts by bucket. Not safe on its own: its engine's lock guards it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, n: int, total: float) -> None:
        """Count `n` observations in the bucket of `value`, which sum to `total`."""
        self.counts[bisect_left(self.bounds, value)] += n
        self.total += total

    def add(self, other: Histogram) -> None:
        """Add the counts of another histogram with the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class EngineMetrics:
    """What one engine counts. Every method may be called from any thread; call each once a batch.

    Args:
        app: The engine's app name.
        input_queue: The name of its input queue, as in the configuration.
        system: The name of that queue's connector.
        output_queues: The names of its output queues, dead-letter queue included, to be shown as 0 from the start.
    """

    def __init__(self, app: str, input_queue: str, system: str, output_queues: Sequence[str] = ()) -> None:
        self.labels = (app, input_queue, system)
        # Adding to an int is several bytecodes: without the lock, counts from two threads are lost. Uncontended it
        # costs about 0.1 µs, once a batch.
        self._lock = threading.Lock()
        self._counts: dict[Key, int] = {}
        self._histograms: dict[Key, Histogram] = {}
        self._gauges: dict[Key, Callable[[], float | None]] = {}
        self._exception_types: set[str] = set()
        self._start_at_zero(input_queue, output_queues)

    def received(self, n: int) -> None:
        """Count messages that the input queue delivered."""
        self._count(RECEIVED, "", n)

    def succeeded(self, n: int) -> None:
        """Count messages whose settlement the backend has confirmed."""
        self._count(SETTLED, "succeeded", n)

    def requeued(self, n: int) -> None:
        """Count messages that the backend has again."""
        self._count(SETTLED, "requeued", n)

    def skipped(self, n: int) -> None:
        """Count messages that were settled without a result, because the configuration says so."""
        self._count(SETTLED, "skipped", n)

    def unsettled(self, n: int) -> None:
        """Count messages that are not settled when the engine ends, and will be redelivered."""
        self._count(SETTLED, "unsettled", n)

    def dead_lettered(self, n: int, stage: str, late: int = 0) -> None:
        """Count messages that the dead-letter queue has confirmed; `stage` as in the dead letter's header. `late` of
        them were lost to another consumer before, and are counted by `late_settlements`."""
        with self._lock:
            self._add((SETTLED, "dead_lettered"), n - late)
            self._add((DEAD_LETTERS, stage), n)

    def function_failed(self, n: int, exception_type: str) -> None:
        """Count messages for which the function raised; `exception_type` is the class's name."""
        with self._lock:
            if exception_type not in self._exception_types:
                if len(self._exception_types) >= EXCEPTION_TYPES:
                    exception_type = "other"
                else:
                    self._exception_types.add(exception_type)
            self._add((FUNCTION_FAILURES, exception_type), n)

    def retried(self, n: int) -> None:
        """Count messages that the function is given once more."""
        self._count(RETRIES, "", n)

    def produced(self, queue: str, n: int) -> None:
        """Count records that an output queue's backend has confirmed."""
        self._count(PRODUCED, queue, n)

    def produce_failed(self, queue: str, n: int) -> None:
        """Count records that an output queue's backend refused or did not confirm."""
        self._count(PRODUCE_FAILURES, queue, n)

    def late_settlements(self, n: int) -> None:
        """Count messages that were lost to another consumer before they were settled: an outcome of its own."""
        with self._lock:
            self._add((SETTLED, "late"), n)
            self._add((LATE_SETTLEMENTS, ""), n)

    def reconnects(self, queue: str) -> None:
        """Count one restored connection to a queue."""
        self._count(RECONNECTS, queue, 1)

    def middleware_event(self, event: str, n: int) -> None:
        """Count what a middleware wants to be seen, by a name of its choice."""
        self._count(MIDDLEWARE_EVENTS, event, n)

    def batch_size(self, n: int) -> None:
        """Observe the size of one batch."""
        self._observe(BATCH_SIZE, "", n, 1, n)

    def function_time(self, seconds_total: float, n: int) -> None:
        """Observe `n` messages that the function took `seconds_total` for, together."""
        if n > 0:
            self._observe(FUNCTION_TIME, "", seconds_total / n, n, seconds_total)

    def produce_time(self, queue: str, seconds: float) -> None:
        """Observe how long one produce call to an output queue waited."""
        self._observe(PRODUCE_TIME, queue, seconds, 1, seconds)

    def end_to_end(self, seconds: float) -> None:
        """Observe the age of one message when it was settled, by the backend's timestamp."""
        seconds = max(0.0, seconds)  # the backend's clock may be ahead of ours
        self._observe(END_TO_END, "", seconds, 1, seconds)

    def watch_in_flight(self, read: Callable[[], float | None]) -> None:
        """Show what `read` returns as messages in flight. Like every `watch`, it asks on the thread of the scrape:
        `read` must be quick, safe there, and returns None while the value is unknown."""
        self._watch(IN_FLIGHT, "", read)

    def watch_oldest_in_flight(self, read: Callable[[], float | None]) -> None:
        """Show what `read` returns as the age of the oldest message in flight, in seconds."""
        self._watch(OLDEST_IN_FLIGHT, "", read)

    def watch_lag(self, read: Callable[[], float | None]) -> None:
        """Show what `read` returns as the lag, in messages: the last known number, as asking the broker takes time."""
        self._watch(LAG, "", read)

    def watch_connected(self, queue: str, read: Callable[[], float | None]) -> None:
        """Show what `read` returns (True or False will do) as the state of the connection to a queue."""
        self._watch(CONNECTED, queue, read)

    def counts(self) -> dict[Key, int]:
        """A copy of every counter."""
        with self._lock:
            return dict(self._counts)

    def histograms(self) -> dict[Key, Histogram]:
        """A copy of every histogram."""
        copies: dict[Key, Histogram] = {}
        with self._lock:
            for key, histogram in self._histograms.items():
                copies[key] = copy = Histogram(histogram.bounds)
                copy.add(histogram)
        return copies

    def gauges(self) -> dict[Key, float]:
        """The value of every watched gauge now; unknown ones are left out."""
        with self._lock:
            watched = list(self._gauges.items())
        # Outside the lock: a reader may itself count something.
        values: dict[Key, float] = {}
        for key, read in watched:
            try:
                value = read()
            except Exception:  # one broken gauge must not hide all others from the operator
                log.warning("metric %s of queue %s cannot be read", key[0].name, self.labels[1], exc_info=True)
                continue
            if value is not None:
                values[key] = float(value)
        return values

    def _start_at_zero(self, input_queue: str, output_queues: Sequence[str]) -> None:
        # A rate needs a first value: a counter that appears as 1 looks as if nothing had happened.
        for metric in (RECEIVED, RETRIES, LATE_SETTLEMENTS):
            self._counts[metric, ""] = 0
        for outcome in OUTCOMES:
            self._counts[SETTLED, outcome] = 0
        for stage in STAGES:
            self._counts[DEAD_LETTERS, stage] = 0
        for queue in output_queues:
            self._counts[PRODUCED, queue] = 0
            self._counts[PRODUCE_FAILURES, queue] = 0
        for queue in (input_queue, *output_queues):
            self._counts[RECONNECTS, queue] = 0

    def _add(self, key: Key, n: int) -> None:
        self._counts[key] = self._counts.get(key, 0) + n

    def _count(self, metric: Metric, label: str, n: int) -> None:
        with self._lock:
            self._add((metric, label), n)

    def _observe(self, metric: Metric, label: str, value: float, n: int, total: float) -> None:
        key = (metric, label)
        with self._lock:
            histogram = self._histograms.get(key)
            if histogram is None:
                histogram = self._histograms[key] = Histogram(metric.bounds)
            histogram.observe(value, n, total)

    def _watch(self, metric: Metric, label: str, read: Callable[[], float | None]) -> None:
        with self._lock:
            self._gauges[metric, label] = read


class MetricsRegistry:
    """The metrics of all engines of one worker. Touches nothing global, and imports the client on the first scrape."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: list[EngineMetrics] = []
        self._registry: CollectorRegistry | None = None

    def add(self, engine_metrics: EngineMetrics) -> None:
        """Show one more engine. Adding it again, as after a restart, changes nothing."""
        with self._lock:
            if engine_metrics in self._engines:
                return
            if any(each.labels == engine_metrics.labels for each in self._engines):
                log.warning("engine %r, queue %r: another engine of this worker has the same name and input queue, so "
                            "their metrics are the same series; give each its app_name",
                            *engine_metrics.labels[:2])  # fmt: skip
            self._engines.append(engine_metrics)

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in Prometheus's text format, and its content type."""
        from prometheus_client import generate_latest

        return generate_latest(self._client_registry()), CONTENT_TYPE

    def collect(self) -> Iterator[Family]:
        """What prometheus_client asks a collector for."""
        return _families(self.engines())

    def engines(self) -> Sequence[EngineMetrics]:
        """Those of each engine, in the order they were added."""
        with self._lock:
            return list(self._engines)

    def _client_registry(self) -> CollectorRegistry:
        from prometheus_client import CollectorRegistry, ProcessCollector

        with self._lock:
            if self._registry is None:
                self._registry = CollectorRegistry()
                self._registry.register(self)
                ProcessCollector(registry=self._registry)
            return self._registry


def _families(engines: Iterable[EngineMetrics]) -> Iterator[Family]:
    """The engines' metrics as the client's families, and the version of Penstock."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    info = GaugeMetricFamily("penstock_build_info", "1, labelled with the version of Penstock.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    series = _Series(engines)
    for metric in METRICS:
        if metric.type == "histogram":
            histograms = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, histogram in series.histograms[metric].items():
                histograms.add_metric(labels, _cumulated(histogram), histogram.total)
            yield histograms
        else:
            kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in series.values[metric].items():
                family.add_metric(labels, value)
            yield family


class _Series:
    """Every time series of all engines, each label set once: Prometheus refuses a page that shows one twice."""

    def __init__(self, engines: Iterable[EngineMetrics]) -> None:
        self.values: dict[Metric, dict[tuple[str, ...], float]] = {metric: {} for metric in METRICS}
        self.histograms: dict[Metric, dict[tuple[str, ...], Histogram]] = {metric: {} for metric in METRICS}
        for engine in engines:
            for (metric, label), value in (engine.counts() | engine.gauges()).items():
                self._merge_value(metric, _labels(engine, metric, label), value)
            for (metric, label), histogram in engine.histograms().items():
                self.histograms[metric].setdefault(_labels(engine, metric, label), Histogram(metric.bounds)).add(
                    histogram
                )

    def _merge_value(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        series = self.values[metric]
        series[labels] = _MERGE[metric.merge]((series[labels], value)) if labels in series else value


_MERGE: dict[str, Callable[[tuple[float, float]], float]] = {"sum": sum, "max": max, "min": min}


def _labels(engine: EngineMetrics, metric: Metric, label: str) -> tuple[str, ...]:
    values = (*engine.labels, label) if metric.label else engine.labels
    # A lone surrogate, from a file name or a class made at run time, would spoil the whole page.
    return tuple(value[:LABEL_LENGTH].encode("utf-8", "replace").decode("utf-8") for value in values)


def _cumulated(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
