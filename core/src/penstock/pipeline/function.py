"""Looks at the user's function once, and binds one call that needs no further questions."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import CodeType, MappingProxyType, SimpleNamespace
from typing import Any, ForwardRef, get_args, get_origin, get_type_hints

from penstock.errors import FunctionError
from penstock.message import QueueMessage

CONTEXT = "msg_ctx"
"""The reserved parameter that gets the connector's own handle of the message (a list of them for a batch), or the
`QueueMessage` itself if it is annotated so."""


@dataclass(frozen=True, slots=True)
class Function:
    """A user's function, understood.

    Attributes:
        name: For errors and metrics.
        call: `call(model, message)`, or `call(models, messages)` for a batch; returns the result, or an awaitable of it
            if `is_async`. Of a generator function it is the generator, an asynchronous one if `is_async`.
        is_async: Whether the function runs on the event loop.
        generates: Whether it is a generator function.
        annotation: The type of the message parameter; `inspect.Parameter.empty` if it has none.
        plain: The function itself, if it is neither async nor a generator and takes nothing but the message.
        function: The user's function itself.
        resources: The names of the parameters that get a resource.
    """

    name: str
    call: Callable[[Any, Any], Any]
    is_async: bool
    generates: bool
    annotation: Any
    plain: Callable[[Any], Any] | None
    function: Callable[..., Any]
    resources: tuple[str, ...] = ()


def understand(
    function: Callable[..., Any],
    resources: Mapping[str, Any] = MappingProxyType({}),
    names: Mapping[str, Any] | None = None,
) -> Function:
    """Inspect a function, also through its decorators, where they use `functools.wraps`.

    Args:
        function: The user's.
        resources: By name what parameters of these names get. The values are looked up at each call.
        names: Names that its annotations may use beside those of its module, such as the locals around it.

    Raises:
        FunctionError: it cannot be called with one message (and `msg_ctx`).
    """
    if not callable(function):
        raise FunctionError(f"a {type(function).__name__} cannot be a stream_app: it cannot be called; give a function")
    outer, inner = _called(function), _written(function)
    # A class, where an object of it is called.
    name = getattr(inner, "__qualname__", type(function).__qualname__).removesuffix(".__call__")
    message, context, taken = _parameters(function, name, resources)
    annotation, context_annotation = (_annotation(inner, each, names) for each in (message, context))
    call = _bind(function, message, context, context_annotation, resources if taken else {})
    is_async = _is_async(outer) or (_is_async(inner) and not _runs_a_loop(outer))
    generates = any(map(_generates, (outer, inner)))
    if is_async and not generates and not inspect.iscoroutinefunction(outer):
        call = _awaited(call)
    return Function(
        name,
        call,
        is_async=is_async,
        generates=generates,
        annotation=annotation,
        plain=None if generates or is_async or context is not None or taken else function,
        function=function,
        resources=taken,
    )


def read_again(function: Function) -> Function:
    """The function with an annotation that could not be read when it was decorated: its model stands below it."""
    if not isinstance(function.annotation, str | ForwardRef):
        return function
    return replace(function, annotation=understand(function.function, dict.fromkeys(function.resources)).annotation)


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is called: without `partial`, and of an object its `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not isinstance(function, type):  # an object with __call__
        return type(function).__call__
    return function


def _written(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the user wrote, behind its decorators."""
    while isinstance(function, functools.partial) or hasattr(function, "__wrapped__"):
        function = function.func if isinstance(function, functools.partial) else inspect.unwrap(function)
    return _called(function)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _generates(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


_LOOP_CALLS = frozenset({"run", "run_until_complete", "run_coroutine_threadsafe", "async_to_sync"})


def _runs_a_loop(decorator: Callable[..., Any]) -> bool:
    """Whether a decorator makes an async function a blocking one, as by `asyncio.run`; then a thread has to call it."""
    code = getattr(decorator, "__code__", None)
    return isinstance(code, CodeType) and not _LOOP_CALLS.isdisjoint(code.co_names)


def _awaited(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Awaitable[Any]]:
    """A decorator that is not async hands on what the async function behind it returned, or something else."""

    async def awaited(model: Any, message: Any) -> Any:
        result = call(model, message)
        return await result if inspect.isawaitable(result) else result

    return awaited


def _parameters(
    function: Callable[..., Any], name: str, resources: Mapping[str, Any]
) -> tuple[inspect.Parameter, inspect.Parameter | None, tuple[str, ...]]:
    try:
        parameters = list(signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise FunctionError(f"{name} cannot be a stream_app: {error}; wrap it in a function of your own") from error
    context = next((each for each in parameters if each.name == CONTEXT), None)
    taken = [each for each in parameters if each.name in resources]
    others = [each for each in parameters if each is not context and each not in taken]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [each for each in others if each.default is each.empty and each.kind not in variadic]
    if not required and [each.kind for each in others] == [inspect.Parameter.VAR_POSITIONAL]:
        required = others  # f(*args) gets the message as its only argument
    if len(required) != 1 or required[0] is not others[0] or required[0].kind is inspect.Parameter.KEYWORD_ONLY:
        shown = ", ".join(str(each) for each in parameters)
        also = f", and the resources {', '.join(resources)}" if resources else ""
        raise FunctionError(
            f"{name}({shown}) cannot be a stream_app: it must take one message as its only required positional "
            f"parameter, and may take {CONTEXT} beside it{also}{_advice(function, required)}"
        )
    for each in (context, *taken):
        if each is not None and each.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise FunctionError(f"{name} cannot be a stream_app: {each.name} is given by name; put the '/' before it")
    return required[0], context, tuple(each.name for each in taken)


def _advice(function: Callable[..., Any], required: Sequence[inspect.Parameter]) -> str:
    """What to do about parameters that are wrong for a reason which can be seen."""
    if [each.name for each in required[:1]] in (["self"], ["cls"]):
        return f"; it is a method: give one of an object, as in app.stream_app(shop.{function.__name__})"
    hidden = [name for name in map(_name_of, _closed_over(function)) if name]
    if not required and len(hidden) == 1:
        return (
            f"; it is a decorator around {hidden[0]}, whose parameters it hides: in the decorator, write "
            "@functools.wraps(function) above it"
        )
    return ""


def _closed_over(function: Callable[..., Any]) -> Iterator[Any]:
    """The functions that an inner function uses from around it."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if inspect.isroutine(value):
            yield value


def _name_of(function: Any) -> str:
    return getattr(function, "__qualname__", "")


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function, also where an annotation names what only type checkers see.

    Raises:
        TypeError, ValueError: the function has no signature.
    """
    if sys.version_info >= (3, 14):  # evaluates annotations when they are asked for, not at the definition
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _annotation(
    written: Callable[..., Any], parameter: inspect.Parameter | None, names: Mapping[str, Any] | None
) -> Any:
    """A parameter's type; text, where it names what exists only for type checkers, or is not defined yet."""
    if parameter is None:
        return None
    globals_ = getattr(written, "__globals__", {}) | dict(names or {})
    alone = SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        # Alone: one annotation that cannot be resolved must not spoil the other one.
        return get_type_hints(alone, globals_, include_extras=True)["it"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return parameter.annotation


def _bind(
    function: Callable[..., Any],
    message: inspect.Parameter,
    context: inspect.Parameter | None,
    context_annotation: Any,
    resources: Mapping[str, Any],
) -> Callable[[Any, Any], Any]:
    by_position = message.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    name = message.name
    if context is None:
        if resources and by_position:
            return lambda model, _message: function(model, **resources)
        if resources:
            return lambda model, _message: function(**{name: model}, **resources)
        return lambda model, _message: function(model)
    handle = _whole if _is_message(context_annotation) else _context
    if by_position:
        return lambda model, each: function(model, msg_ctx=handle(each), **resources)
    # By name, so that `f(msg_ctx, message)` works as well.
    return lambda model, each: function(**{name: model, CONTEXT: handle(each)}, **resources)


def _is_message(annotation: Any) -> bool:
    if isinstance(annotation, str | ForwardRef):  # imported under TYPE_CHECKING
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        return re.search(r"\bQueueMessage\b", text) is not None
    if get_origin(annotation) in (list, Sequence):
        annotation = get_args(annotation)[0]
    return isinstance(annotation, type) and issubclass(annotation, QueueMessage)


def _whole(message: Any) -> Any:
    # Of a batch a list of its own: the function may do with it what it likes.
    return list(message) if isinstance(message, list) else message


def _context(message: Any) -> Any:
    if isinstance(message, list):
        return [each.message_context for each in message]
    return message.message_context
