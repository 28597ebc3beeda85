"""Looks into pydantic models: their keys, and the field or model behind a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def keyed_fields(model: type[BaseModel]) -> Iterator[tuple[str, str, FieldInfo]]:
    """Each field's key as a config writes it (its alias, if it has one), its name, and the field."""
    for name, field in model.model_fields.items():
        yield field.alias or name, name, field


def field_of(model: type[BaseModel] | None, key: str) -> FieldInfo | None:
    """The field that a key stands for, by its alias or its name."""
    for alias, name, field in keyed_fields(model) if model else ():
        if key in (alias, name):
            return field
    return None


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds, also inside an optional, a list or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := model_in(part))), None)


def holds(annotation: Any, wanted: tuple[type, ...]) -> bool:
    """Whether an annotation is, or has inside, one of the wanted types."""
    if isinstance(annotation, type) and issubclass(annotation, wanted):
        return True
    return any(holds(part, wanted) for part in get_args(annotation))
