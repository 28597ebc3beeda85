"""For tests: a harness for users, and the conformance kit, `penstock.testing.conformance`, that every connector passes.

The names below are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.testing.conductor import NotQuiet
    from penstock.testing.harness import Harness

_HOMES = {
    "Harness": "penstock.testing.harness",
    "NotQuiet": "penstock.testing.conductor",
}

__all__ = ["Harness", "NotQuiet"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'penstock.testing' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
