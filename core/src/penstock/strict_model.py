"""The base of every model that is read from a configuration: it takes a value of the right kind, and converts none.

YAML reads `off`, `no`, `on` and `yes` as true or false, which pydantic would take for the numbers 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError


class StrictModel(BaseModel):
    """Rejects true and false where a number is wanted, and a number where true or false is wanted.

    Text that says a number, or "true" and the like, is taken: `${NAME}` always gives text.
    """

    model_config = ConfigDict(defer_build=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cast(CoreSchema, _strict(handler(source)))


def _strict(schema: Any) -> Any:
    """A copy of a core schema that checks the kind of a value before pydantic converts it."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_strict, schema))
    if not isinstance(schema, dict):
        return schema
    copy = {key: item if key in _NO_SCHEMA else _strict(item) for key, item in schema.items()}
    check = _CHECKS.get(str(copy.get("type")))
    if check is None:
        return copy
    return {"type": "function-before", "function": {"type": "no-info", "function": check}, "schema": copy}


_NO_SCHEMA = frozenset({"cls", "config", "default", "metadata", "ref", "serialization"})
"""Parts of a core schema that are plain data."""


def _rejecting(error: str, wrong: Callable[[Any], bool]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if wrong(value):
            raise PydanticKnownError(error)  # type: ignore[arg-type]  # one of pydantic's own names
        return value

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "int": _rejecting("int_type", lambda value: isinstance(value, bool)),
    "float": _rejecting("float_type", lambda value: isinstance(value, bool)),
    "bool": _rejecting("bool_type", _is_number),
}
