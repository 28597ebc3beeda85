"""Any type that pydantic can build: models, dataclasses, typed dicts, lists of them, Any. JSON in one pass."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, NoReturn

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from penstock.builtin import core_schema, writing
from penstock.builtin.reading import exact_decoder
from penstock.errors import ConfigError
from penstock.model_handlers import ModelHandler

_SHOWN = 3  # problems of one value that an error lists
_SCALARS = frozenset({str, int, float, bool, type(None), bytes})
_MASK, _MASKED = "**********", b"**********"  # what pydantic writes for a secret
_ANY = TypeAdapter(Any).serializer


class PydanticModelHandler(ModelHandler):
    """The model handler `pydantic`.

    A model is read by its aliases and written by them, so that one end of a queue understands the other. What would
    arrive as another value is rejected: NaN and infinity in JSON (unless the model's `ser_json_inf_nan` says how they
    are written), a `SecretStr`, a number that is too large for a float. No error of its own shows a value of a message.
    """

    direct_formats = frozenset({"json"})

    def __init__(self) -> None:
        self._models: dict[int, _Model] = {}

    def construct(self, data: Any, data_model: Any) -> Any:
        """Validate plain data; bytes are read as JSON, unless the data model is `bytes`."""
        model = self._model(data_model)
        if isinstance(data, (bytes, bytearray)) and data_model is not bytes:
            return model.read_json(bytes(data))
        return model.validator.validate_python(data)

    def deconstruct(self, model: Any, data_model: Any) -> Any:
        """Plain data of a model, or of a value that validates as one; bytes stay bytes."""
        return self._model(data_model).to_plain(model)

    def decoder(self, data_model: Any, format: str) -> Callable[[Any], Any]:  # noqa: A002
        """See `ModelHandler.decoder`. Pydantic's own bound method, unless the model has floats or decimals.

        Raises:
            ConfigError: pydantic cannot build the data model.
        """
        model = self._model(data_model)
        return model.read_json if format == "json" else model.validator.validate_python

    def encoder(self, data_model: Any, format: str) -> Callable[[Any], Any]:  # noqa: A002
        """See `ModelHandler.encoder`. A value that is not an instance of the model is validated first.

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
    """What decodes and encodes one data model, prepared once for a queue.

    Attributes:
        validator: pydantic-core's; its errors hide the input.
        read_json: JSON bytes → a value.
        to_json: A value → JSON bytes.
        to_plain: A value → plain data.
    """

    def __init__(self, data_model: Any) -> None:
        self.type = Any if data_model is None else data_model
        self.name = data_model.__name__ if isinstance(data_model, type) else str(data_model)
        adapter, schema = self._build()
        # A validator of our own: pydantic's shows its input in errors, which are logged.
        self.validator = core_schema.validator(schema)
        self.read_json = exact_decoder(self.validator.validate_json, schema)
        self.to_json, self.to_plain = self._encoders(adapter, schema)

    def _build(self) -> tuple[TypeAdapter[Any], Any]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "Mixing V1 models and V2 models": rejected below
                adapter: TypeAdapter[Any] = TypeAdapter(self.type)
            # `defer_build`, or a name that was not defined yet. Pydantic 2.9 has no such attribute: it builds when it
            # is asked for the schema.
            if not getattr(adapter, "pydantic_complete", True):
                adapter.rebuild()
            schema = adapter.core_schema
        except (PydanticUserError, NameError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"data model {self.name}: pydantic cannot build it: {reason}") from error
        if old := core_schema.class_of_pydantic_v1(schema):
            raise ConfigError(
                f"data model {self.name}: {old} is of pydantic.v1, whose classes pydantic 2 cannot read or write; "
                "derive it from pydantic.BaseModel"
            )
        return adapter, schema

    def _encoders(self, adapter: TypeAdapter[Any], schema: Any) -> tuple[Callable[[Any], bytes], Callable[[Any], Any]]:
        """Two functions that check a value and turn it into data. An instance costs one `isinstance`."""
        # Pydantic only warns, and shows the value, when an attribute no longer fits its field. `warnings="error"` would
        # parse that word anew for each message (1.1 µs); this filter, for calls from this module alone, costs nothing.
        warnings.filterwarnings("error", "Pydantic serializer warnings", UserWarning, re.escape(__name__) + r"\Z")
        write_json, write_python = adapter.serializer.to_json, adapter.serializer.to_python
        json_will_do = not core_schema.may_hold_bytes(schema)
        names_secrets = core_schema.names_secrets(schema)
        validate, misfit = self._validate, self._misfit
        check, sign = self._check(write_python, schema)
        # A typed dict or a list has no instances: such a value is validated each time. Anything is an instance of Any.
        made_of = object if self.type is Any else self.type
        if not (isinstance(made_of, type) and (made_of is object or _validates_itself(made_of))):
            made_of = ()

        def encode(value: Any) -> bytes:
            try:
                value = value if isinstance(value, made_of) else validate(value)
                body = write_json(value, by_alias=True)
                if check is not None and body.find(sign) >= 0:
                    check(value, body)
                return body
            except UserWarning as warning:
                misfit(value, warning)

        def take_apart(value: Any) -> Any:
            try:
                value = value if isinstance(value, made_of) else validate(value)
                if json_will_do:
                    plain = write_python(value, mode="json", by_alias=True)
                    if names_secrets:
                        writing.reject_masked(str(plain), lambda: write_python(value, by_alias=True))
                    return plain
                return _plain(write_python(value, by_alias=True))
            except UserWarning as warning:
                misfit(value, warning)

        return encode, _plain if self.type is Any else take_apart

    def _check(
        self, write_python: Callable[..., Any], schema: Any
    ) -> tuple[Callable[[Any, bytes], None] | None, bytes]:
        """A function that rejects a body which lacks something of its value, and text that is in each such body.

        Returns:
            None for a model that can lose nothing; and a sign without which a body need not be checked.
        """
        config = getattr(self.type, "model_config", None) or {}
        floats = core_schema.may_write_floats(schema) and "ser_json_inf_nan" not in config
        functions = core_schema.calls_functions(schema)
        secrets, named = core_schema.may_hold_secrets(schema), core_schema.names_secrets(schema)

        def check(value: Any, body: bytes) -> None:
            if floats and body.find(b"null") >= 0 and (functions or not writing.is_finite_throughout(value)):
                writing.reject_lost_floats(body, lambda: write_python(value, by_alias=True))
            if secrets and (named or body.find(_MASKED) >= 0):  # the user's type may have another mask
                writing.reject_masked(body, lambda: write_python(value, by_alias=True))

        if not (floats or secrets):
            return None, b""
        return check, b"" if secrets else b"null"

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


def _plain(value: Any) -> Any:
    """Plain data that keeps bytes, which JSON cannot; everything else is as in pydantic's JSON."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {_plain_key(key): _plain(item) for key, item in value.items()}
    if kind in (list, tuple, set, frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(by_alias=True))
    plain = to_jsonable_python(value, by_alias=True)
    if _MASK in str(plain):
        writing.reject_masked(str(plain), lambda: _ANY.to_python(value, by_alias=True))
    return plain


def _plain_key(key: Any) -> Any:
    return key if type(key) in _SCALARS else next(iter(to_jsonable_python({key: None})))
