"""Reads the data model of an input queue, and whether it is a batch, from the function's annotation."""

from __future__ import annotations

import inspect
import logging
import types
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ForwardRef, Union, get_args, get_origin, is_typeddict

from penstock.errors import FunctionError
from penstock.model_handlers import ModelHandler
from penstock.pipeline.function import Function
from penstock.queues.resolved_queue import ResolvedQueue

log = logging.getLogger("penstock")


def with_annotation(source: ResolvedQueue, function: Function) -> ResolvedQueue:
    """The queue as the function needs it: its annotation is the data model, unless the configuration names one.

    Raises:
        FunctionError: the queue is set to `batch` and the annotation is of one message; or it names what cannot be
            found from outside of the function, or is not a type, so that nothing could be validated.
    """
    if source.batch and not _may_be_a_list(function.annotation):
        raise _one_instead_of_many(source, function)
    handler = source.model_handler
    if not source.data_model_is_default or handler is None:
        return source
    annotation = _item(function.annotation) if source.batch else function.annotation
    if isinstance(annotation, str | ForwardRef):
        raise _not_to_be_found(source, function, annotation)
    if _says_nothing(annotation):
        return source
    _try_out(handler, source, function, annotation)
    if not source.batch and (get_origin(_bare(annotation)) or _bare(annotation)) in (list, Sequence):
        log.info("queue %r: %s is annotated with %s, so one message is a JSON array; set batch: true on the queue if "
                 "the function takes several messages", source.name, function.name, _shown(annotation))  # fmt: skip
    return replace(source, data_model=annotation)


def with_declared_model(target: ResolvedQueue, models: Mapping[str, Any]) -> ResolvedQueue:
    """An output queue whose data model the configuration does not choose takes the declared model, or anything."""
    if target.data_model_is_default and target.model_handler:
        return replace(target, data_model=models.get(target.name, Any))
    return target


def _may_be_a_list(annotation: Any) -> bool:
    """Whether a list may be passed to this parameter; True for what cannot be decided (a name, a type variable)."""
    annotation = _bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_may_be_a_list(each) for each in get_args(annotation))
    kind = get_origin(annotation) or annotation
    if _says_nothing(kind) or not isinstance(kind, type):
        return True
    try:
        return issubclass(list, kind)
    except TypeError:  # it cannot be asked: a typed dict, or a protocol
        return not is_typeddict(kind)


def _item(annotation: Any) -> Any:
    """The type of the items of a batch; Any for a bare `list`."""
    annotation = _bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return next(_item(each) for each in get_args(annotation) if _may_be_a_list(each))
    kind, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(kind, type) and issubclass(list, kind):
        return arguments[0] if arguments else Any  # `typing.List` alone
    return Any if isinstance(annotation, type) else annotation


def _bare(annotation: Any) -> Any:
    """What an alias (`type Orders = …`) or `Annotated` stands around."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":  # of typing from Python 3.12 on, or of typing_extensions
            annotation = annotation.__value__
        else:
            return annotation


def _says_nothing(annotation: Any) -> bool:
    return any(annotation is each for each in (inspect.Parameter.empty, Any, None))


def _try_out(handler: ModelHandler, source: ResolvedQueue, function: Function, annotation: Any) -> None:
    """Let the model handler see the type now, where the function can be named.

    Raises:
        FunctionError: it can build none of these.
    """
    try:
        handler.decoder(annotation, "")
    except KeyboardInterrupt:
        raise
    # A handler of a third party: whatever it raises is a problem of this annotation.
    except BaseException as error:
        raise FunctionError(
            f"{function.name}: its message is annotated with {_shown(annotation)}, of which "
            f"{type(handler).__name__} can build nothing for {_queue(source)}: {error}; annotate a type, "
            f"or give the queue a 'data_model'"
        ) from error


def _one_instead_of_many(source: ResolvedQueue, function: Function) -> FunctionError:
    shown, bare = _shown(function.annotation), _bare(function.annotation)
    several = "list" if bare in (tuple, set, frozenset) else f"list[{shown}]"
    return FunctionError(
        f"{function.name}: its message is annotated with {shown}, but {_queue(source)} is set to 'batch', which gives "
        f"the function a list of messages; annotate {several}, or take 'batch' off the queue"
    )


def _not_to_be_found(source: ResolvedQueue, function: Function, annotation: str | ForwardRef) -> FunctionError:
    text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
    return FunctionError(
        f"{function.name}: its message is annotated with {text!r}, which cannot be found at run time: "
        "nothing would be validated; define or import it at the module's top, not under TYPE_CHECKING, or give "
        f"queue {source.name!r} a 'data_model' (none: plain data)"
    )


def _queue(source: ResolvedQueue) -> str:
    return f"queue {source.name!r}" + (f" ({source.location})" if source.location else "")


def _shown(annotation: Any) -> str:
    return annotation.__name__ if type(annotation) is type else inspect.formatannotation(annotation)
