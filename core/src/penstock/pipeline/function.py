"""Looks at the user's function once, and binds one call that needs no further questions."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

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


def understand(function: Callable[..., Any], resources: Mapping[str, Any] = MappingProxyType({})) -> Function:
    """Inspect a function.

    Args:
        function: The user's.
        resources: By name what parameters of these names get. The values are looked up at each call.

    Raises:
        FunctionError: it cannot be called with one message (and `msg_ctx`).
    """
    if not callable(function):
        raise FunctionError(f"a {type(function).__name__} cannot be a stream_app: it cannot be called; give a function")
    target = _innermost(function)
    # A class, where an object of it is called.
    name = getattr(target, "__qualname__", type(function).__qualname__).removesuffix(".__call__")
    message, context, taken = _parameters(function, name, resources)
    annotation, context_annotation = (_annotation(target, each) for each in (message, context))
    generates_async = inspect.isasyncgenfunction(target)
    is_async = generates_async or inspect.iscoroutinefunction(target)
    generates = generates_async or inspect.isgeneratorfunction(target)
    return Function(
        name,
        _bind(function, message, context, context_annotation, resources if taken else {}),
        is_async=is_async,
        generates=generates,
        annotation=annotation,
        plain=None if generates or is_async or context is not None or taken else function,
        function=function,
        resources=taken,
    )


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not isinstance(function, type):  # an object with __call__
        return type(function).__call__
    return function


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
    if len(required) != 1 or required[0] is not others[0] or required[0].kind is inspect.Parameter.KEYWORD_ONLY:
        shown = ", ".join(str(each) for each in parameters)
        also = f", and the resources {', '.join(resources)}" if resources else ""
        raise FunctionError(
            f"{name}({shown}) cannot be a stream_app: it must take one message as its only required positional "
            f"parameter, and may take {CONTEXT} beside it{also}"
        )
    for each in (context, *taken):
        if each is not None and each.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise FunctionError(f"{name} cannot be a stream_app: {each.name} is given by name; put the '/' before it")
    return required[0], context, tuple(each.name for each in taken)


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function, also where an annotation names what only type checkers see.

    Raises:
        TypeError, ValueError: the function has no signature.
    """
    if sys.version_info >= (3, 14):  # evaluates annotations when they are asked for, not at the definition
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _annotation(target: Callable[..., Any], parameter: inspect.Parameter | None) -> Any:
    """A parameter's type; text, where it names what exists only for type checkers or inside another function."""
    if parameter is None:
        return None
    globals_ = getattr(inspect.unwrap(target), "__globals__", {})
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
    by_position, name = message.kind is inspect.Parameter.POSITIONAL_ONLY, message.name
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
