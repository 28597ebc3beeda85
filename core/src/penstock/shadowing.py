"""Finds the file of a program that hides a library of the same name, as the cause of an import that failed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType


def hidden_library(error: BaseException) -> str | None:
    """A sentence about the file that this error comes from, if it hides a library; else None."""
    for name in dict.fromkeys(_names(error)):
        if (problem := _problem(name)) is not None:
            return problem
    return None


def _names(error: BaseException | None) -> Iterator[str]:
    """Top-level modules that an error, or what led to it, speaks of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ImportError) and error.name:
            yield error.name.partition(".")[0]
        if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
            yield error.obj.__name__.partition(".")[0]
        trace = error.__traceback__
        while trace is not None:
            yield Path(trace.tb_frame.f_code.co_filename).stem
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def _problem(name: str) -> str | None:
    found = list(_found(name))
    if name in sys.builtin_module_names or not found:
        return None
    mine, *others = found
    if not others or mine.origin == others[0].origin or _is_library(mine.origin):
        return None
    what = "the standard library's" if name in sys.stdlib_module_names else "the library"
    return f"{mine.origin} hides {what} {name!r} from everything that imports it; rename it"


def _found(name: str) -> Iterator[ModuleSpec]:
    """Each regular module or package of this name on the path, the one that an import finds first."""
    for entry in dict.fromkeys(sys.path):
        spec = PathFinder.find_spec(name, [entry or "."])
        if spec is not None and spec.origin is not None:
            yield spec


def _is_library(origin: str | None) -> bool:
    """Whether a file was installed: then another one of its name is a matter between two libraries."""
    return origin is None or any(part in ("site-packages", "dist-packages") for part in Path(origin).parts)
