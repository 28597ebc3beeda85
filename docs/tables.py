"""Writes the tables of the manual that are made from the code: `python docs/tables.py`, with all our plugins installed.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; tests/test_docs.py fails if one is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from penstock.capabilities import CAPABILITY_NAMES
from penstock.config.fields import keyed_fields
from penstock.config.schema import attribute_texts
from penstock.metric_list import METRICS
from penstock.options import environment_fields
from penstock.plugins.registry import Registry

DOCS = Path(__file__).parent
CONNECTORS = ("kafka", "memory", "rsmq")

_TABLE = re.compile(r"(?<=<!-- table: )([\w.]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def metrics() -> str:
    """Every metric."""
    rows = ((f"`{each.name}`", each.type, f"`{each.label}`" if each.label else "", each.help) for each in METRICS)
    return table(("metric", "type", "label of its own", "meaning"), rows)


def buckets() -> str:
    """The bounds of every histogram."""
    rows = ((f"`{each.name}`", ", ".join(f"{bound:g}" for bound in each.bounds)) for each in METRICS if each.bounds)
    return table(("histogram", "upper bounds of its buckets"), rows)


def capabilities() -> str:
    """What each connector can do."""
    specs = [Registry().connector(name) for name in CONNECTORS]

    def shown(value: Any) -> str:
        return value if isinstance(value, str) else "yes" if value else "–"

    rows = (
        (f"`{capability}`", *(shown(getattr(spec.capabilities, capability)) for spec in specs))
        for capability in CAPABILITY_NAMES
    )
    return table(("capability", *(f"`{name}`" for name in CONNECTORS)), rows)


def profiles() -> str:
    """Every profile of our plugins."""
    registry = Registry()
    found = [offer for offer in registry.offers() if offer.kind == "profile" and offer.origin == "first-party"]
    rows = (
        (
            f"`{each.name}`",
            f"`{each.connector}`",
            f"`{each.serializer}`" if each.serializer else "off",
            f"`{each.model_handler}`" if each.model_handler else "off",
            "a list" if each.batch else "one message",
        )
        for each in (registry.profile(offer.name) for offer in found)
    )
    return table(("profile", "connector", "serializer", "model handler", "the function gets"), rows)


def options(connector: str) -> str:
    """The options of a connector, as its options model has them."""
    registry = Registry()
    spec = registry.connector(connector)
    model: type[BaseModel] = registry.load(spec, str(spec.options))
    texts = attribute_texts(model)
    variables = {
        key: ", ".join(f"`{name}`" for name in dict.fromkeys((*mark.input, *mark.output, *mark.names)))
        for key, _field, mark in environment_fields(model)
    }
    rows = (
        (
            f"`{key}`",
            default(field.get_default(call_default_factory=True)),
            variables.get(key, ""),
            _without_from(texts[name]),
        )
        for key, name, field in keyed_fields(model)
    )
    return table(("key", "default", "environment", "meaning"), rows)


def default(value: Any) -> str:
    """A default as a config would write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    return f"{value}"


def _without_from(text: str) -> str:
    # The variables have a column of their own.
    return re.sub(r" ?From [A-Z][A-Z_ ,]*(?:(?:or|else from) [A-Z_]+,? ?)*\.", "", text).strip()


TABLES: dict[str, Callable[[], str]] = {
    "metrics": metrics,
    "buckets": buckets,
    "capabilities": capabilities,
    "profiles": profiles,
    **{f"options.{name}": (lambda name=name: options(name)) for name in CONNECTORS},  # type: ignore[misc]
}


def current(page: str) -> str:
    """A page's text with its tables as they should be."""
    return _TABLE.sub(lambda match: f"{match[1]}{match[2]}{TABLES[match[1]]()}", page)


if __name__ == "__main__":
    for path in DOCS.rglob("*.md"):
        path.write_text(current(path.read_text()))
