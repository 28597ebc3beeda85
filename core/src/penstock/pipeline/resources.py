"""The resources that an engine declares: what a worker opens once and gives to functions by a parameter's name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import FunctionError
from penstock.pipeline.function import CONTEXT, signature


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as it was declared.

    Attributes:
        name: The name of its function, and of the parameters that get it.
        function: Yields it, or returns it.
        takes: The other resources that the function takes.
    """

    name: str
    function: Callable[..., Any]
    takes: tuple[str, ...]


class Resources:
    """The resources that one engine declares, in order."""

    def __init__(self) -> None:
        self._declared: dict[str, Resource] = {}

    @property
    def names(self) -> list[str]:
        """Their names."""
        return list(self._declared)

    def add(self, function: Callable[..., Any]) -> None:
        """Declare a resource.

        Raises:
            FunctionError: its name is taken, or it has a parameter that is not a resource declared before it.
        """
        name = getattr(function, "__name__", "")
        if not name.isidentifier() or name == CONTEXT:
            raise FunctionError(f"a resource is a function with a name that a parameter may have, not {name!r}")
        if name in self._declared:
            raise FunctionError(f"resource {name!r} is declared twice; give one of them another name")
        self._declared[name] = Resource(name, function, self.taken_by(function, f"resource {name!r}"))

    def taken_by(self, function: Callable[..., Any], what: str, own: int = 0) -> tuple[str, ...]:
        """The names of the parameters behind the first `own` ones, each of which must be a resource.

        Raises:
            FunctionError: one is not.
        """
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = list(signature(function).parameters.values())[own:]
        for each in parameters:
            if each.name not in self._declared and each.default is each.empty and each.kind not in variadic:
                known = f"; there are {', '.join(map(repr, self._declared))}" if self._declared else ""
                raise FunctionError(
                    f"{what} has a parameter {each.name!r}, which is not a resource that is declared above it{known}"
                )
        return tuple(each.name for each in parameters if each.name in self._declared)

    def needed(self, names: Iterable[str], replaced: Mapping[str, Any]) -> list[Resource]:
        """What must be opened for these names, in the order of declaration; not what is replaced."""
        wanted: set[str] = set()
        todo = [name for name in names if name not in replaced]
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo += [other for other in self._declared[name].takes if other not in replaced]
        return [resource for name, resource in self._declared.items() if name in wanted]
