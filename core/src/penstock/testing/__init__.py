"""For tests of your functions: a harness. Connectors are tested by the distribution `penstock-kit`.

The names below are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.exports import lazy_exports

if TYPE_CHECKING:
    from penstock.errors import NotIdle
    from penstock.testing.harness import Harness

_HOMES = {
    "Harness": "penstock.testing.harness",
    "NotIdle": "penstock.errors",
}

__all__ = ["Harness", "NotIdle"]


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for Any
    __getattr__ = lazy_exports(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
