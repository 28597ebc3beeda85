"""Writes the tables of the manual that are made from the code: `python docs/tables.py`, with our plugins installed.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; tests/test_docs_reference.py fails if one is not
current.

What the conformance kit has proved cannot be read from the code. It stands between `<!-- report -->` and
`<!-- end -->`, and is written by `python docs/tables.py --report FILE`, of the file that `nox -s conformance` writes.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from penstock.capabilities import CAPABILITY_NAMES
from penstock.config.fields import keyed_fields
from penstock.config.schema import attribute_texts
from penstock.observability.metric_definitions import METRICS
from penstock.options import environment_fields
from penstock.plugins.registry import Registry
from penstock.testing import Harness
from penstock.testing.fault_injection import ConsumerFaults, ProducerFaults
from penstock_kit import BackendFixture, ConnectorConformance
from penstock_kit.matrix import as_markdown
from penstock_kit.report import SuiteReport, read

DOCS = Path(__file__).parent
TESTING = (Harness, ProducerFaults, ConsumerFaults)
CONNECTORS = (
    "http.poll",
    "http.webhook",
    "kafka",
    "kafka.share",
    "memory",
    "postgres",
    "postgres.changes",
    "postgres.poll",
    "postgres.table",
    "redis.streams",
    "redis.lists",
    "redis.pubsub",
    "rsmq",
    "servicebus",
    "sqlite",
    "storage_queue",
    "pubsub",
    "nats",
    "timer",
    "rabbitmq",
    "rabbitmq.classic",
    "zmq",
    "zmq.reply",
    "sqs",
    "sqs.fifo",
    "sns",
)

_TABLE = re.compile(r"(?<=<!-- table: )([\w.]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
_REPORT = re.compile(r"(?<=<!-- report -->\n).*?(?=<!-- end -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
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
    found = [offer for offer in registry.listing() if offer.kind == "profile" and offer.origin == "first-party"]
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
            # Where a key is called otherwise than the attribute, the docstring has the one that users write.
            _without_from(texts.get(key) or texts[name]),
        )
        for key, name, field in keyed_fields(model)
    )
    return table(("key", "default", "environment", "meaning"), rows)


def default(value: Any) -> str:
    """A default as a config would write it."""
    if value is PydanticUndefined:
        return "required"
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
    return re.sub(r"(?:;? from|[ ]?From) [A-Z][A-Z_ ,]*(?:(?:or|else from) [A-Z_]+,? ?)*(\.)", _full_stop, text).strip()


def _full_stop(found: re.Match[str]) -> str:
    return "." if found[0].startswith((";", " f")) else ""


def families() -> Iterator[tuple[str, type, Sequence[str]]]:
    """The families of the conformance kit in the order in which they run: name, class, names of the tests."""
    for family in reversed(ConnectorConformance.__bases__):
        tests = [name for name in vars(family) if name.startswith("test_")]
        yield family.__module__.rpartition(".")[2], family, tests


def promises() -> str:
    """Every promise of the conformance kit, by family."""
    return table(("test", "capability", "promise"), _promises())


def _promises() -> Iterator[Sequence[str]]:
    for name, family, tests in families():
        yield f"**{name.replace('_', ' ')}**", "", f"**{_first_paragraph(sys.modules[family.__module__])}**"
        for test in tests:
            capability = getattr(vars(family)[test], "capability", "")
            named = f"`{capability}`" if capability else ""
            if getattr(vars(family)[test], "at_least_once", False):
                named = f"{named}, at least once".removeprefix(", ")
            yield f"`{test}`", named, _first_paragraph(vars(family)[test])


def members(owner: type) -> str:
    """The public methods and properties of a class, with the first sentence of each."""
    rows = (
        (f"`{name}{_signature(member)}`", _first_paragraph(member))
        for name, member in vars(owner).items()
        # Those of the faults that say what is to go wrong; the others are asked by the queue that does it.
        if not name.startswith("_") and (owner is Harness or _makes_a_fault(member))
    )
    return table(("member", "what it does"), rows)


def _makes_a_fault(member: Any) -> bool:
    return callable(member) and str(inspect.signature(member).return_annotation).startswith("Fault[")


def _signature(member: Any) -> str:
    if isinstance(member, property):
        return ""
    parameters = list(inspect.signature(member).parameters.values())[1:]
    shown: list[str] = []
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        shown.append(each.name if each.default is each.empty else f"{each.name}={each.default!r}")
    return f"({', '.join(shown)})"


def backend_fixture() -> str:
    """What an author can tell the kit of a backend."""
    texts = attribute_texts(BackendFixture)
    rows = ((f"`{name}`", _default_of_fixture(getattr(BackendFixture, name)), text) for name, text in texts.items())
    return table(("attribute", "default", "meaning"), rows)


def _default_of_fixture(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else "{}" if not isinstance(value, (int, float)) else f"{value:,}".removesuffix(".0")


def _first_paragraph(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


TABLES: dict[str, Callable[[], str]] = {
    "metrics": metrics,
    "buckets": buckets,
    "capabilities": capabilities,
    "profiles": profiles,
    "promises": promises,
    "backend_fixture": backend_fixture,
    **{f"testing.{owner.__name__}": (lambda owner=owner: members(owner)) for owner in TESTING},  # type: ignore[misc]
    **{f"options.{name}": (lambda name=name: options(name)) for name in CONNECTORS},  # type: ignore[misc]
}


def current(page: str) -> str:
    """A page's text with its tables as they should be."""
    return _TABLE.sub(lambda match: f"{match[1]}{match[2]}{TABLES[match[1]]()}", page)


def reported(page: str, suites: Sequence[SuiteReport]) -> str:
    """A page's text with what a run of the conformance kit has found."""
    return _REPORT.sub(lambda _match: as_markdown(suites), page)


def main() -> None:
    """Write all pages."""
    parser = argparse.ArgumentParser(description="Writes the tables of the manual that are made from the code.")
    parser.add_argument("--report", type=Path, help="also the matrix of what is proved, from this conformance report")
    arguments = parser.parse_args()
    for path in DOCS.rglob("*.md"):
        text = current(path.read_text())
        path.write_text(text if arguments.report is None else reported(text, read(arguments.report)))


if __name__ == "__main__":
    main()
