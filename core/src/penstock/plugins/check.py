"""Checks that the objects which a spec names can be imported and are of the right kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock.connectors import BlockingConsumer, Consumer
from penstock.errors import PluginError
from penstock.model_handlers import ModelHandler
from penstock.options import ConnectorOptions
from penstock.plugins.explain import words
from penstock.plugins.listing import ListedName
from penstock.serializers import Serializer
from penstock.specs import ConnectorSpec, Spec

_IMPORT_STRINGS = ("consumer", "producer", "options", "check", "target", "data_model")
_CONTRACTS: Mapping[tuple[str, str], type] = {
    ("connector", "consumer"): object,
    ("connector", "producer"): object,
    ("connector", "options"): ConnectorOptions,
    ("serializer", "target"): Serializer,
    ("model_handler", "target"): ModelHandler,
}
"""What must be a class, and derived from which. A connector's class may also be of the one-message-at-a-time form."""

_NEEDED: Mapping[str, Sequence[str]] = {
    "lease": ("extend",),
    "lag": ("lag",),
    "browse": ("browse",),
    "transactions": ("transact", "transaction_problem"),
}
"""The methods of a consumer that a capability needs, and that the contract only has a default for."""


def after_import(listed: ListedName, spec: Spec, load: Callable[[Spec, str], Any]) -> ListedName:
    """The line for a name after importing everything that its spec names.

    Args:
        listed: What is known without importing anything.
        spec: The spec behind the name.
        load: Imports one of its import strings; raises `PluginError`.
    """
    problems = list(_problems(spec, load))
    if not problems:
        return listed
    return replace(listed, state="broken", problem="\n".join(filter(None, [listed.problem, *problems])))


def _problems(spec: Spec, load: Callable[[Spec, str], Any]) -> Iterator[str]:
    for key in _IMPORT_STRINGS:
        import_string = getattr(spec, key, None)
        if import_string is None:
            continue
        try:
            found = load(spec, import_string)
        except PluginError as error:
            yield str(error)
            continue
        what = f"{words(spec.kind)} {spec.name!r}: its {key} {import_string!r}"
        contract = _CONTRACTS.get((spec.kind, key))
        if contract is not None and not (isinstance(found, type) and issubclass(found, contract)):
            derived = "" if contract is object else f" derived from {contract.__module__}.{contract.__name__}"
            yield f"{what} is not a class{derived}; tell its author"
        if isinstance(spec, ConnectorSpec) and key in ("consumer", "producer") and isinstance(found, type):
            yield from (f"{what} {problem}; tell its author" for problem in _connector_problems(spec, key, found))
        if (key == "check" or spec.kind in ("middleware", "route")) and not callable(found):
            yield f"{what} is not a function; tell its author"


def _connector_problems(spec: ConnectorSpec, side: str, found: type) -> Iterator[str]:
    """What is missing of a connector's class, to continue "its consumer '…' "."""
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        yield f"cannot be made: it has no {', '.join(f'{name}()' for name in missing)}"
    if side != "consumer":
        return
    for capability, methods in _NEEDED.items():
        if not spec.capabilities.has(capability):
            continue
        for method in methods:
            if getattr(found, method, None) in (getattr(Consumer, method), getattr(BlockingConsumer, method), None):
                yield f"has no {method}(), which the declared capability {capability!r} needs"
