"""Which serializer, model handler and data model a queue gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from penstock.config.unresolved import UnresolvedQueue
from penstock.dead_letters import error_text
from penstock.errors import ConfigError
from penstock.model_handlers import ModelHandler
from penstock.serializers import Serializer

DEFAULT_SERIALIZER = "json"
DEFAULT_MODEL_HANDLER = "pydantic"
# Anything: whatever the bytes say, until a queue or a function's annotation says more.
DEFAULT_DATA_MODEL: Any = Any

_Made = TypeVar("_Made", bound=Serializer | ModelHandler)


@dataclass(frozen=True, slots=True)
class Stages:
    """What stands between a queue's bytes and the function; None is a stage that is off."""

    serializer: Serializer | None
    model_handler: ModelHandler | None
    data_model: Any
    data_model_is_default: bool


def choose_stages(unresolved: UnresolvedQueue) -> Stages:
    """The queue's own word, else the profile's, else json and pydantic."""
    serializer = _serializer(unresolved)
    if _handler_is_off(unresolved):
        return Stages(serializer, None, None, False)
    handler = _model_handler(unresolved)
    data_model, is_default = _data_model(unresolved)
    if handler is not None and data_model is not None:
        _try_out(unresolved, handler, data_model)
    return Stages(serializer, handler, data_model, is_default)


def _try_out(unresolved: UnresolvedQueue, handler: ModelHandler, data_model: Any) -> None:
    """Let the handler see the data model now, rather than at the first message."""

    def prepare() -> None:
        try:
            handler.decoder(data_model, "")
        except ConfigError:
            raise
        except KeyboardInterrupt:
            raise
        # A stranger's handler: whatever it raises is a problem of this data model.
        except BaseException as error:
            cause = f"{type(error).__name__}: {error_text(error)}"
            raise ConfigError(f"'data_model' does not suit {type(handler).__name__}: {cause}") from error

    unresolved.attempt("data_model", prepare)


def _handler_is_off(unresolved: UnresolvedQueue) -> bool:
    """A model needs a handler, and a handler a model: to turn off one turns off the other."""
    queue, profile = unresolved.queue, unresolved.profile
    model_off = queue.given("data_model") and queue.data_model is None
    model_given = queue.given("data_model") and not model_off
    if queue.given("model_handler"):
        handler_off, origin = queue.model_handler is None, unresolved.written("model_handler")
        how = "'model_handler' is off"
    else:
        handler_off, origin = profile is not None and profile.model_handler is None, unresolved.from_profile()
        how = f"{origin} has no model handler"
    if model_given and handler_off:
        unresolved.problem(("data_model",), f"'data_model' is given, but {how}; leave it out, or name a model handler")
    if model_off and not handler_off:
        if queue.given("model_handler"):
            unresolved.problem(
                ("data_model",), "'data_model' is off, but 'model_handler' is given; turn off both or none"
            )
        origin = unresolved.written("data_model")
    if handler_off or model_off:
        unresolved.origins["model_handler"] = unresolved.origins["data_model"] = origin
    return handler_off or model_off


def _serializer(unresolved: UnresolvedQueue) -> Serializer | None:
    value = _chosen(unresolved, "serializer", DEFAULT_SERIALIZER)
    registry = unresolved.registry

    def by_name(name: str) -> Any:
        spec = registry.serializer(name)
        return registry.load(spec, spec.target)

    def make() -> Serializer:
        target = unresolved.target("serializer", value, by_name)
        return _made("serializer", value, target, Serializer)  # type: ignore[type-abstract]

    return None if value is None else unresolved.attempt("serializer", make)


def _model_handler(unresolved: UnresolvedQueue) -> ModelHandler | None:
    value = _chosen(unresolved, "model_handler", DEFAULT_MODEL_HANDLER)
    registry = unresolved.registry

    def by_name(name: str) -> Any:
        spec = registry.model_handler(name)
        return registry.load(spec, spec.target)

    def make() -> ModelHandler:
        target = unresolved.target("model_handler", value, by_name)
        return _made("model_handler", value, target, ModelHandler)  # type: ignore[type-abstract]

    return None if value is None else unresolved.attempt("model_handler", make)


def _made(key: str, value: Any, target: Any, contract: type[_Made]) -> _Made:
    shown = repr(value) if isinstance(value, str) else getattr(value, "__qualname__", type(value).__name__)
    if not (isinstance(target, type) and issubclass(target, contract)):
        home = f"{contract.__module__}.{contract.__name__}"
        raise ConfigError(f"{key!r} is {shown}, which is no class derived from {home}")
    try:
        return target()
    except KeyboardInterrupt:
        raise
    # A stranger's constructor: whatever it raises is a problem of this key.
    except BaseException as error:
        cause = f"{type(error).__name__}: {error_text(error)}"
        raise ConfigError(f"{key!r} is {shown}, which cannot be made without arguments: {cause}") from error


def _data_model(unresolved: UnresolvedQueue) -> tuple[Any, bool]:
    queue, profile, registry = unresolved.queue, unresolved.profile, unresolved.registry
    if queue.given("data_model"):
        unresolved.origins["data_model"] = unresolved.written("data_model")
        model = unresolved.attempt("data_model", lambda: unresolved.imported("data_model", queue.data_model))
        return model, False
    if profile is not None and profile.data_model is not None:
        path = profile.data_model
        unresolved.origins["data_model"] = unresolved.from_profile()
        return unresolved.attempt("data_model", lambda: registry.load(profile, path)), True
    unresolved.origins["data_model"] = "default"
    return DEFAULT_DATA_MODEL, True


def _chosen(unresolved: UnresolvedQueue, key: str, default: str) -> Any:
    queue, profile = unresolved.queue, unresolved.profile
    if queue.given(key):
        value, origin = getattr(queue, key), unresolved.written(key)
    elif profile is not None:
        value, origin = getattr(profile, key), unresolved.from_profile()
    else:
        value, origin = default, "default"
    unresolved.origins[key] = origin
    return value
