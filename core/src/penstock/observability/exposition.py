"""The metrics of all engines of a worker, as Prometheus reads them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from penstock.observability.counting import EngineMetrics, Histogram
from penstock.observability.metric_definitions import METRICS, Metric
from penstock.version import __version__

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

log = logging.getLogger("penstock")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NOT_THE_PROGRAMS = ("penstock_", "process_", "python_")

LABEL_LENGTH = 200  # characters of a label value that are kept


class MetricsRegistry:
    """The metrics of all engines of one worker, and the program's own. Imports the client on the first scrape.

    The program's are those of `prometheus_client.REGISTRY`, or of all processes that share `PROMETHEUS_MULTIPROC_DIR`.
    They are read and never changed.
    """

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
        """The metrics, as prometheus_client collects them."""
        yield from _families(self.engines())
        yield from _families_of_the_program()

    def engines(self) -> Sequence[EngineMetrics]:
        """The metrics of each engine, in the order they were added."""
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


def _families_of_the_program() -> Iterator[Family]:
    """What the program counts, without what the client adds about process and interpreter."""
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    try:
        registry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the client's
        families = list(registry.collect())
    except Exception:  # a collector of the program must not hide ours
        log.warning("the metrics of the program cannot be read", exc_info=True)
        return
    yield from (each for each in families if not each.name.startswith(_NOT_THE_PROGRAMS))


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
