"""Lets a package export names of its modules, and imports each module only when one of its names is used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package.

    Args:
        package: Its `__name__`.
        homes: By name, the module that it is defined in.
    """

    def getattr_(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(homes[name]), name)
        except AttributeError as error:
            from penstock.shadowing import hidden_library

            # Python would say that the package lacks this name, and drop the reason.
            hidden = f"; {sentence}" if (sentence := hidden_library(error)) else ""
            raise ImportError(f"{homes[name]} cannot be imported: {error}{hidden}", name=package) from error
        setattr(sys.modules[package], name, value)
        return value

    return getattr_
