"""Health and metrics of several processes as one page each."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

from penstock.observability.exposition import CONTENT_TYPE
from penstock.observability.metric_definitions import METRICS

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

log = logging.getLogger("penstock")

ANSWER_WITHIN = 2.0  # seconds
_MERGE = {metric.name: {"max": max, "min": min}.get(metric.merge) for metric in METRICS} | {"penstock_build_info": max}

Key = tuple[str, tuple[tuple[str, str], ...]]


def fetch(port: int, path: str) -> bytes | None:
    """What a process answers, whatever the status; None if it does not."""
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def report_of(port: int) -> dict[str, Any] | None:
    """The health of a process as it reports it; None if it does not answer."""
    try:
        found = json.loads(fetch(port, "/readyz") or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def merged_report(reports: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    """One report for all: ready if every process is, alive unless one that answers says that it is not."""
    components: dict[str, Any] = {}
    heartbeats: dict[str, Any] = {}
    for name, report in reports.items():
        if report is None:
            components[name] = {"state": "starting", "reason": "it does not answer yet", "since": None}
            continue
        components |= {f"{name}: {part}": state for part, state in report.get("components", {}).items()}
        heartbeats |= {f"{name}: {part}": beat for part, beat in report.get("heartbeats", {}).items()}
    found = [report for report in reports.values() if report is not None]
    return {
        "ready": bool(reports) and len(found) == len(reports) and all(report.get("ready") for report in found),
        "alive": all(report.get("alive", True) for report in found),
        "components": components,
        "heartbeats": heartbeats,
    }


def merged_metrics(pages: Mapping[str, bytes]) -> tuple[bytes, str]:
    """One page of metrics: counts are added, and `process_*` has the number of the process as a label."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Merged(pages))
    return generate_latest(registry), CONTENT_TYPE


class _Merged:
    def __init__(self, pages: Mapping[str, bytes]) -> None:
        self._pages = pages

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterator[Family]:
        from prometheus_client.metrics_core import Metric
        from prometheus_client.parser import text_string_to_metric_families

        families: dict[str, tuple[Family, dict[Key, float]]] = {}
        for number, page in self._pages.items():
            for family in text_string_to_metric_families(page.decode()):
                own = Metric(family.name, family.documentation, family.type)
                _merged, samples = families.setdefault(family.name, (own, {}))
                merge = _MERGE.get(family.name)
                for sample in family.samples:
                    labels = dict(sample.labels)
                    if family.name.startswith("process_"):
                        labels["process"] = number
                    key = (sample.name, tuple(sorted(labels.items())))
                    before = samples.get(key)
                    value = float(sample.value)
                    samples[key] = value if before is None else merge(before, value) if merge else before + value
        for family, samples in families.values():
            for (name, pairs), value in samples.items():
                family.add_sample(name, dict(pairs), value)
            yield family
