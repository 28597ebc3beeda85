"""The worker's report, as `GET /status` shows it: plain data for a dashboard, without secrets and message bodies."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from penstock.config.masking import mask_text, shown
from penstock.observability.health import Health, rfc3339
from penstock.version import __version__

if TYPE_CHECKING:
    from penstock.config.model import EngineSettings, WorkerSettings
    from penstock.middleware import AnyMiddleware
    from penstock.observability.counting import EngineMetrics
    from penstock.pipeline.extensions import Extensions
    from penstock.queues.resolved_queue import ResolvedQueue


class EngineStatus:
    """What is reported of one engine.

    Args:
        function: The name of its function.
        queues: Its queues, the input queue first.
        dead_letter_queue: The name of its dead-letter queue.
        settings: Its settings.
        counters: What it counts; names the engine, too.
        extensions: What the program adds to it.
    """

    def __init__(
        self,
        function: str,
        queues: Iterable[ResolvedQueue],
        dead_letter_queue: str | None,
        settings: EngineSettings,
        counters: EngineMetrics,
        extensions: Extensions,
    ) -> None:
        source, *targets = map(_queue, queues)
        self._fixed: dict[str, Any] = {
            "name": counters.labels[0],
            "function": function,
            "input_queue": source,
            "output_queues": [each for each in targets if each["name"] != dead_letter_queue],
            "dead_letter_queue": next((each for each in targets if each["name"] == dead_letter_queue), None),
            "settings": settings.model_dump(mode="json", exclude={"middleware"}),
            "middleware": [_middleware(each) for each in (*settings.middleware, *extensions.middleware)],
            "resources": extensions.resources.names,
        }
        self._counters = counters

    @property
    def fields(self) -> dict[str, str]:
        """What a log record about the engine carries."""
        return self._counters.fields

    @property
    def line(self) -> str:
        """`engine 'till': from 'orders' (kafka) to 'invoices' (rsmq), dead letters to 'rejects' (kafka)`."""
        fixed = self._fixed
        outputs, dead = [_shown(each) for each in fixed["output_queues"]], fixed["dead_letter_queue"]
        to = f" to {', '.join(outputs)}" if outputs else ""
        letters = f", dead letters to {_shown(dead)}" if dead is not None else ""
        return f"engine {fixed['name']!r}: from {_shown(fixed['input_queue'])}{to}{letters}"

    def report(self) -> dict[str, Any]:
        """The settings, and what was counted until now."""
        return {**self._fixed, "metrics": _metrics(self._counters)}


def worker_report(
    started: float, health: Health, settings: WorkerSettings, engines: Iterable[EngineStatus]
) -> dict[str, Any]:
    """The whole report.

    Args:
        started: When the worker was made, in seconds since the epoch.
        health: Its components.
        settings: Its settings.
        engines: Those that were started.
    """
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started": rfc3339(started),
        "uptime_seconds": round(time.time() - started, 3),
        **health.report(),
        "settings": settings.model_dump(mode="json"),
        "engines": [engine.report() for engine in engines],
    }


def _middleware(each: AnyMiddleware) -> str:
    return f"{type(each).__name__} {shown(each)}" if isinstance(each, BaseModel) else shown(each)


def _shown(queue: Mapping[str, Any]) -> str:
    return f"{queue['name']!r} ({queue['connector']})"


def _queue(queue: ResolvedQueue) -> dict[str, Any]:
    stages = {"serializer": queue.serializer, "model_handler": queue.model_handler}
    return {
        "name": queue.name,
        "value": mask_text(queue.value),
        "connector": queue.connector,
        **{stage: None if chosen is None else type(chosen).__name__ for stage, chosen in stages.items()},
        "data_model": None if queue.model_handler is None else shown(queue.data_model),
        "batch": bool(queue.batch),
    }


def _metrics(counters: EngineMetrics) -> dict[str, Any]:
    """Values by the name of the metric, and by its label where it has one; of a histogram count and sum."""
    values: dict[Any, Any] = dict(counters.counts())
    values |= {key: int(value) if value.is_integer() else round(value, 3) for key, value in counters.gauges().items()}
    for key, histogram in counters.histograms().items():
        values[key] = {"count": sum(histogram.counts), "sum": round(histogram.total, 6)}
    report: dict[str, Any] = {}
    for (metric, label), value in values.items():
        if metric.label:
            report.setdefault(metric.name, {})[label] = value
        else:
            report[metric.name] = value
    return report
