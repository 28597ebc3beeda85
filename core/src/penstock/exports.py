"""Lets a module export names of other modules, and imports each only when one of its names is used.

Names that Penstock does not have may come from another distribution: its entry points in the group `penstock.names` say
for which module of Penstock it offers the names in which module of its own. So programs that were written for another
library find its names, and Penstock need not know them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

GROUP = "penstock.names"
"""The entry-point group: "penstock.models" = "penstock_acme.models" offers the `__all__` of the second in the first."""


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module.

    Args:
        package: Its `__name__`.
        homes: By name, the module that it is defined in.
    """

    def getattr_(name: str) -> Any:
        if name not in homes:
            value = _offered(package, name)
        else:
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


class OfferedModules:
    """The last finder of `sys.meta_path`: makes the modules of `penstock` that only other distributions offer."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        found = name.startswith("penstock.") and any(True for _ in _homes(name))
        return ModuleSpec(name, OfferedModules, is_package=True) if found else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """See `importlib.abc.Loader`."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        names = dict.fromkeys(each for home in _homes(module.__name__) for each in import_module(home).__all__)
        vars(module).update({name: _offered(module.__name__, name) for name in names}, __all__=list(names))


def _offered(module: str, name: str) -> Any:
    """What the one distribution that offers a name of this module has there."""
    found = {}
    # Python itself asks modules for names with underscores, such as `__path__`, and for modules of ours before it
    # imports them; no metadata are read for either.
    for home in () if name.startswith("_") or _is_own_module(module, name) else _homes(module):
        values = import_module(home)
        if name in values.__all__:
            found[home] = getattr(values, name)
    if not found:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    if len(found) > 1:
        raise ImportError(f"{module}.{name} is offered by {' and by '.join(found)}; uninstall all but one", name=module)
    return next(iter(found.values()))


def _is_own_module(package: str, name: str) -> bool:
    places = [os.path.join(folder, name) for folder in vars(sys.modules[package]).get("__path__", ())]
    return any(os.path.isdir(place) or os.path.isfile(f"{place}.py") for place in places)


def _homes(module: str) -> Iterator[str]:
    """The modules whose names are offered in this one."""
    return (home for wanted, home in _offers(tuple(sys.path)) if wanted == module)


@lru_cache(maxsize=4)
def _offers(_path: tuple[str, ...]) -> list[tuple[str, str]]:
    import importlib_metadata

    found: dict[tuple[str, str], None] = {}
    for distribution in importlib_metadata.distributions():
        with suppress(Exception):  # damaged metadata offer nothing
            found |= dict.fromkeys((each.name, each.value) for each in distribution.entry_points.select(group=GROUP))
    return sorted(found)
