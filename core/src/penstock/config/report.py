"""A configuration as it is understood, line by line: each value, and where it came from. Secrets are masked."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from penstock.config.fields import keyed_fields
from penstock.config.locations import Path
from penstock.config.masking import shown
from penstock.config.model import Configuration, EngineSettings, QueueConfig, Settings
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.retry import QueueRetry


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: its key, its value fit to be printed, and where that came from."""

    key: str
    value: str
    origin: str

    @property
    def is_default(self) -> bool:
        """Whether only Penstock or a connector chose it."""
        return self.origin == "default" or self.origin.startswith("connector ")


def queue_rows(queue: QueueConfig, views: Iterable[ResolvedQueue]) -> list[Row]:
    """The rows of one queue.

    Args:
        queue: What the configuration says.
        views: The queue for each role that it can have. A value that differs between the two is shown for each.
    """
    by_key: dict[str, list[tuple[str, Row]]] = {}
    for view in views:
        for row in _view_rows(queue, view):
            by_key.setdefault(row.key, []).append((view.role, row))
    rows: list[Row] = []
    for key in sorted(by_key, key=_order):
        found = by_key[key]
        if len({row for _role, row in found}) == 1:
            rows.append(found[0][1])
        else:
            rows += [Row(f"{key} ({role})", row.value, row.origin) for role, row in found]
    return rows


_ORDER = (
    "value",
    "profile",
    "connector",
    "consumer",
    "producer",
    "serializer",
    "model_handler",
    "data_model",
    "envelope",
    *(f"retry.{key}" for key in QueueRetry.model_fields),
    "batch",
)


def _order(key: str) -> int:
    # Options come last, in the order of their model: sorting is stable.
    return _ORDER.index(key) if key in _ORDER else len(_ORDER)


def _view_rows(queue: QueueConfig, view: ResolvedQueue) -> Iterator[Row]:
    def row(key: str, value: Any) -> Row:
        return Row(key, shown(value), view.origins.get(key, "default"))

    side = "consumer" if view.role == "input" else "producer"
    yield row("value", view.value)
    if queue.profile is not None:
        yield row("profile", queue.profile)
    yield row("connector", view.connector)
    yield row(side, view.connector_class)
    yield row("serializer", "off" if view.serializer is None else type(view.serializer))
    yield row("model_handler", "off" if view.model_handler is None else type(view.model_handler))
    yield row("data_model", "off" if view.model_handler is None else view.data_model)
    if not view.envelope:
        yield row("envelope", "off")
    if view.retry is not None:
        for key in type(view.retry).model_fields:
            yield row(f"retry.{key}", getattr(view.retry, key))
    yield row("batch", "no" if view.batch is None else view.batch)
    yield from _option_rows(view)


def _option_rows(view: ResolvedQueue) -> Iterator[Row]:
    options = view.options
    if not isinstance(options, BaseModel):
        for key, value in options.items():
            yield Row(f"config.{key}", shown(value, None, key), view.origins.get(f"config.{key}", "default"))
        return
    model = type(options)
    for key, name, _field in keyed_fields(model):
        # The configuration may have written either spelling.
        origin = view.origins.get(f"config.{key}") or view.origins.get(f"config.{name}") or "default"
        yield Row(f"config.{key}", shown(getattr(options, name), model, key), origin)
    for key, value in (options.model_extra or {}).items():
        yield Row(f"config.{key}", shown(value, model, key), view.origins.get(f"config.{key}", "default"))


def section_rows(configuration: Configuration, section: str) -> list[Row]:
    """The rows of the section "engine", "worker" or "plugins"."""
    settings: Settings = getattr(configuration, section)
    return list(_settings_rows(configuration, settings, (section,)))


def engine_rows(configuration: Configuration, settings: EngineSettings, given: Container[str]) -> list[Row]:
    """The rows of an engine's settings.

    Args:
        configuration: Its configuration.
        settings: What is in force.
        given: The names of those that the program gives.
    """
    rows = _settings_rows(configuration, settings, ("engine",))
    return [Row(row.key, row.value, "program") if row.key.partition(".")[0] in given else row for row in rows]


def _settings_rows(configuration: Configuration, settings: BaseModel, path: Path) -> Iterator[Row]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        here = (*path, name)
        if isinstance(value, BaseModel):
            yield from _settings_rows(configuration, value, here)
            continue
        key = ".".join(map(str, here[1:]))
        yield Row(key, shown(value, type(settings), name), _origin(configuration, settings, name, here))


def _origin(configuration: Configuration, settings: BaseModel, name: str, path: Path) -> str:
    if name not in settings.model_fields_set:
        return "default"
    return configuration.origin(path)
