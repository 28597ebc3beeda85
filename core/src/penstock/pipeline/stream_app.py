"""A function that `Engine.stream_app` has decorated, and what it may return."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from penstock.routing import Output

if TYPE_CHECKING:
    from penstock.engine import Engine

P = ParamSpec("P")
Item = Output | tuple[str, Any] | tuple[str, Any, Mapping[str, Any] | None]
Result = Item | Iterable[Item] | AsyncIterable[Item] | bool | None
"""What a function may return, for type checkers; `routing` judges what it does return."""
R = TypeVar("R", bound=Result | Awaitable[Result])


class StreamApp(Generic[P, R]):
    """A decorated function. Called with a message it is the function itself; called with nothing it runs its engine.

    Attributes:
        engine: The engine that runs it.
    """

    def __init__(self, function: Callable[P, R], engine: Engine) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self.engine = engine

    @overload
    def __call__(self) -> None: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not args and not kwargs:
            return self.engine.run()
        return self._function(*args, **kwargs)
