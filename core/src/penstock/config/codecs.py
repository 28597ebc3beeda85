"""Chooses the serializer, the model handler and the data model of a queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from penstock.config.resolution import Resolution, stands_for
from penstock.dead_letters import error_text
from penstock.errors import ConfigError
from penstock.model_handlers import ModelHandler
from penstock.queues.foreign_codecs import foreign_form
from penstock.serializers import Serializer

DEFAULT_SERIALIZER = "json"
DEFAULT_MODEL_HANDLER = "pydantic"
# Any value, unless the queue or the function's annotation says more.
DEFAULT_DATA_MODEL: Any = Any

_Made = TypeVar("_Made", bound=Serializer | ModelHandler)


@dataclass(frozen=True, slots=True)
class CodecParts:
    """What converts between a queue's bytes and the function's objects; None for a part that is turned off."""

    serializer: Serializer | None
    model_handler: ModelHandler | None
    data_model: Any
    data_model_is_default: bool


def choose_codec(resolution: Resolution) -> CodecParts:
    """What the queue says, else what its profile says, else json and pydantic."""
    serializer = _stage(resolution, "serializer", DEFAULT_SERIALIZER, Serializer)  # type: ignore[type-abstract]
    if _handler_is_off(resolution):
        return CodecParts(serializer, None, None, False)
    handler = _stage(resolution, "model_handler", DEFAULT_MODEL_HANDLER, ModelHandler)  # type: ignore[type-abstract]
    data_model, is_default = _data_model(resolution)
    if handler is not None and data_model is not None:
        _try_out(resolution, handler, data_model)
    return CodecParts(serializer, handler, data_model, is_default)


def _try_out(resolution: Resolution, handler: ModelHandler, data_model: Any) -> None:
    """Prepare the decoder now, so that an unsuitable data model is reported before the first message."""

    def prepare() -> None:
        try:
            handler.decoder(data_model, "")
        except ConfigError:
            raise
        except KeyboardInterrupt:
            raise
        # A handler may raise anything; it is a problem of this data model.
        except BaseException as error:
            cause = f"{type(error).__name__}: {error_text(error)}"
            raise ConfigError(f"'data_model' does not suit {type(handler).__name__}: {cause}") from error

    resolution.attempt("data_model", prepare)


def _handler_is_off(resolution: Resolution) -> bool:
    """Whether the model handler is off. A data model and a model handler need each other."""
    queue, profile = resolution.queue, resolution.profile
    model_off = queue.given("data_model") and queue.data_model is None
    model_given = queue.given("data_model") and not model_off
    if queue.given("model_handler"):
        handler_off, origin = queue.model_handler is None, resolution.written("model_handler")
        how = "'model_handler' is off"
    else:
        handler_off, origin = profile is not None and profile.model_handler is None, resolution.from_profile()
        how = f"{origin} has no model handler"
    if model_given and handler_off:
        resolution.problem(("data_model",), f"'data_model' is given, but {how}; leave it out, or name a model handler")
    if model_off and not handler_off:
        if queue.given("model_handler"):
            resolution.problem(
                ("data_model",), "'data_model' is off, but 'model_handler' is given; turn off both or none"
            )
        origin = resolution.written("data_model")
    if handler_off or model_off:
        resolution.origins["model_handler"] = resolution.origins["data_model"] = origin
    return handler_off or model_off


def _stage(resolution: Resolution, key: str, default: str, contract: type[_Made]) -> _Made | None:
    """The serializer or model handler: its class found by name, by path or as it is, and made."""
    value, registry = _chosen(resolution, key, default), resolution.registry

    def by_name(name: str) -> Any:
        spec = getattr(registry, key)(name)
        return registry.load(spec, spec.target)

    def make() -> _Made:
        target = resolution.target(key, value, by_name)
        name = stands_for(target)
        return _made(key, value, target if name is None else by_name(name), contract)

    return None if value is None else resolution.attempt(key, make)


def _made(key: str, value: Any, target: Any, contract: type[_Made]) -> _Made:
    shown = repr(value) if isinstance(value, str) else getattr(value, "__qualname__", type(value).__name__)
    derived = isinstance(target, type) and issubclass(target, contract)
    foreign = None if derived else foreign_form(target, contract)
    if not derived and foreign is None:
        home = f"{contract.__module__}.{contract.__name__}"
        raise ConfigError(f"{key!r} is {shown}, which is not a class derived from {home}")
    try:
        made: _Made = target() if foreign is None else foreign(target())
        return made
    except KeyboardInterrupt:
        raise
    # The constructor may raise anything; it is a problem of this key.
    except BaseException as error:
        cause = f"{type(error).__name__}: {error_text(error)}"
        raise ConfigError(f"{key!r} is {shown}, which cannot be made without arguments: {cause}") from error


def _data_model(resolution: Resolution) -> tuple[Any, bool]:
    queue, profile, registry = resolution.queue, resolution.profile, resolution.registry
    if queue.given("data_model"):
        resolution.origins["data_model"] = resolution.written("data_model")
        model = resolution.attempt("data_model", lambda: resolution.imported("data_model", queue.data_model))
        return model, False
    if profile is not None and profile.data_model is not None:
        path = profile.data_model
        resolution.origins["data_model"] = resolution.from_profile()
        return resolution.attempt("data_model", lambda: registry.load(profile, path)), True
    resolution.origins["data_model"] = "default"
    return DEFAULT_DATA_MODEL, True


def _chosen(resolution: Resolution, key: str, default: str) -> Any:
    queue, profile = resolution.queue, resolution.profile
    if queue.given(key):
        value, origin = getattr(queue, key), resolution.written(key)
    elif profile is not None:
        value, origin = getattr(profile, key), resolution.from_profile()
    else:
        value, origin = default, "default"
    resolution.origins[key] = origin
    return value
