"""Any type that pydantic can build: models, dataclasses, typed dicts, lists of them, Any. JSON in one pass."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import is_dataclass
from json import loads
from typing import Any, NoReturn

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator, to_json, to_jsonable_python

from penstock.errors import ConfigError
from penstock.model_handlers import ModelHandler

_SHOWN = 3  # faults of one value that an error lists
_SCALARS = frozenset({str, int, float, bool, type(None), bytes})


class PydanticModelHandler(ModelHandler):
    """The model handler `pydantic`.

    A model is read by its aliases and written by them, so that one end of a queue understands the other. No error of
    its own shows a value of a message.
    """

    direct_formats = frozenset({"json"})

    def __init__(self) -> None:
        self._models: dict[int, _Model] = {}

    def construct(self, data: Any, data_model: Any) -> Any:
        """Validate plain data; bytes are taken for JSON, unless the data model is `bytes`."""
        model = self._model(data_model)
        if isinstance(data, (bytes, bytearray)) and data_model is not bytes:
            return model.validator.validate_json(data)
        return model.validator.validate_python(data)

    def deconstruct(self, model: Any, data_model: Any) -> Any:
        """Plain data of a model, or of a value that makes one; bytes stay bytes."""
        return self._model(data_model).to_plain(model)

    def decoder(self, data_model: Any, format: str) -> Callable[[Any], Any]:  # noqa: A002
        """See `ModelHandler.decoder`. Pydantic's own bound method: nothing of ours runs per message.

        Raises:
            ConfigError: pydantic cannot build the data model.
        """
        validator = self._model(data_model).validator
        return validator.validate_json if format == "json" else validator.validate_python

    def encoder(self, data_model: Any, format: str) -> Callable[[Any], Any]:  # noqa: A002
        """See `ModelHandler.encoder`. A value that is no instance of the model is validated first.

        Raises:
            ConfigError: pydantic cannot build the data model.
        """
        model = self._model(data_model)
        return model.to_json if format == "json" else model.to_plain

    def _model(self, data_model: Any) -> _Model:
        # By identity: `Annotated[int, Field(...)]` and the like need not be hashable. The _Model keeps the type alive.
        key = id(data_model)
        if key not in self._models:
            self._models[key] = _Model(data_model)
        return self._models[key]


class _Model:
    """A data model, prepared once for a queue's life.

    Attributes:
        validator: pydantic-core's; its errors hide the input.
        to_json: A value → JSON bytes.
        to_plain: A value → plain data.
    """

    def __init__(self, data_model: Any) -> None:
        self.type = Any if data_model is None else data_model
        self.name = data_model.__name__ if isinstance(data_model, type) else str(data_model)
        adapter, schema = self._build()
        # A validator of our own, for pydantic's shows what it read in its errors, and these end in logs.
        self.validator = SchemaValidator(schema, {"hide_input_in_errors": True})
        self.to_json, self.to_plain = _any_encoders() if self.type is Any else self._encoders(adapter, schema)

    def _build(self) -> tuple[TypeAdapter[Any], Any]:
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(self.type)
            # `defer_build`, or a name that was not defined yet. Pydantic 2.9 has no such attribute: it builds when it
            # is asked for the schema.
            if not getattr(adapter, "pydantic_complete", True):
                adapter.rebuild()
            return adapter, adapter.core_schema
        except (PydanticUserError, NameError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"data model {self.name}: pydantic cannot build it: {reason}") from error

    def _encoders(self, adapter: TypeAdapter[Any], schema: Any) -> tuple[Callable[[Any], bytes], Callable[[Any], Any]]:
        """Two functions that check a value and take it apart. An instance costs one `isinstance`."""
        # Pydantic only warns, and shows the value, when an attribute no longer fits its field. `warnings="error"` would
        # parse that word anew for each message (1.1 µs); this filter, for calls from this module alone, costs nothing.
        warnings.filterwarnings("error", "Pydantic serializer warnings", UserWarning, re.escape(__name__) + r"\Z")
        write_json, write_python = adapter.serializer.to_json, adapter.serializer.to_python
        json_will_do = not _may_hold_bytes(schema)
        validate, misfit = self._validate, self._misfit
        # A typed dict or a list has no instances: such a value is validated each time.
        made_of = self.type if isinstance(self.type, type) and _validates_itself(self.type) else ()

        def encode(value: Any) -> bytes:
            try:
                return write_json(value if isinstance(value, made_of) else validate(value), by_alias=True)
            except UserWarning as warning:
                misfit(value, warning)

        def take_apart(value: Any) -> Any:
            try:
                value = value if isinstance(value, made_of) else validate(value)
                if json_will_do:
                    return write_python(value, mode="json", by_alias=True)
                return _plain(write_python(value, by_alias=True))
            except UserWarning as warning:
                misfit(value, warning)

        return encode, take_apart

    def _validate(self, value: Any) -> Any:
        try:
            return self.validator.validate_python(value)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            shown = [
                ": ".join([".".join(map(str, fault["loc"])), fault["msg"]]).lstrip(": ") for fault in faults[:_SHOWN]
            ]
            if len(faults) > _SHOWN:
                shown.append(f"and {len(faults) - _SHOWN} more")
            raise ValueError(f"expected {self.name}, got {type(value).__name__}: {'; '.join(shown)}") from None

    def _misfit(self, value: Any, warning: UserWarning) -> NoReturn:
        names = re.findall(r"field_name='(\w+)'", str(warning))
        where = f"in {', '.join(dict.fromkeys(names))} " if names else ""
        raise ValueError(
            f"this {type(value).__name__} holds values {where}that {self.name} does not allow; "
            "they were set unchecked, after it was made or as defaults"
        ) from None


def _validates_itself(type_: type) -> bool:
    return issubclass(type_, BaseModel) or is_dataclass(type_)


def _any_encoders() -> tuple[Callable[[Any], bytes], Callable[[Any], Any]]:
    def encode(value: Any) -> bytes:
        body = to_json(value)
        if body.find(b"NaN") >= 0 or body.find(b"Infinity") >= 0:
            loads(body, parse_constant=_refuse_constant)  # the word may as well stand in a string
        return body

    return encode, _plain


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"cannot be written as JSON: it holds a float that is {constant}")


def _plain(value: Any) -> Any:
    """Plain data that keeps bytes, which JSON cannot: all else is written as pydantic writes it in JSON."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {_plain_key(key): _plain(item) for key, item in value.items()}
    if kind in (list, tuple, set, frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(by_alias=True))
    return to_jsonable_python(value, by_alias=True)


def _plain_key(key: Any) -> Any:
    return key if type(key) in _SCALARS else next(iter(to_jsonable_python({key: None})))


def _may_hold_bytes(schema: Any) -> bool:
    """Whether a value of this core schema may have bytes in it, so that JSON's way of writing it would lose them."""
    if isinstance(schema, dict):
        if schema.get("type") in ("bytes", "any") or "allow" in (
            schema.get("extra_behavior"),
            schema.get("extra_fields_behavior"),
        ):
            return True
        return any(_may_hold_bytes(part) for part in schema.values())
    return isinstance(schema, list | tuple) and any(_may_hold_bytes(part) for part in schema)
