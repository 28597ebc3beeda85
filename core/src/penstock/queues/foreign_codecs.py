"""Serializers and model handlers that derive from nothing of Penstock, such as those written for py-volley."""

from __future__ import annotations

import inspect
from typing import Any

from penstock.errors import ConfigError
from penstock.model_handlers import ModelHandler
from penstock.serializers import Serializer


class ForeignSerializer(Serializer):
    """Has `serialize(data)` and `deserialize(body)`."""

    methods = ("serialize", "deserialize")

    def __init__(self, made: Any) -> None:
        self._made = made

    def serialize(self, data: Any) -> bytes:
        body: bytes = self._made.serialize(data)
        return body

    def deserialize(self, body: bytes) -> Any:
        return self._made.deserialize(body)


class ForeignModelHandler(ModelHandler):
    """Has `construct(message, schema)` and `deconstruct(model)`, which may take the schema as well."""

    methods = ("construct", "deconstruct")

    def __init__(self, made: Any) -> None:
        self._made = made
        try:
            inspect.signature(made.deconstruct).bind(None, None)
        except TypeError:
            self._takes_model = False
        else:
            self._takes_model = True

    def construct(self, data: Any, data_model: Any) -> Any:
        return self._made.construct(data, data_model)

    def deconstruct(self, model: Any, data_model: Any) -> Any:
        return self._made.deconstruct(model, data_model) if self._takes_model else self._made.deconstruct(model)


def foreign_form(target: Any, contract: type[Any]) -> type[Any] | None:
    """The class that makes a `contract` of a class that does not derive from it; None if that lacks a method.

    Raises:
        ConfigError: a method is async.
    """
    form = ForeignSerializer if contract is Serializer else ForeignModelHandler
    if not isinstance(target, type) or not all(callable(getattr(target, each, None)) for each in form.methods):
        return None
    for each in form.methods:
        if inspect.iscoroutinefunction(getattr(target, each)):
            raise ConfigError(f"{target.__qualname__}: its {each} is async, and nothing awaits it; write `def`")
    # By the name of the user's class, for errors.
    return type(target.__name__, (form,), {})
