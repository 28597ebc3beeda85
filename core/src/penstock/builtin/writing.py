"""Rejects values that would arrive as other ones: NaN as null, a secret as asterisks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any, NoReturn
from uuid import UUID

from pydantic import BaseModel

from penstock.builtin.core_schema import SECRETS

_SEQUENCES = (list, tuple)  # `list | tuple` would be created for each call
_SETS = (set, frozenset)
_CONTAINERS = (*_SEQUENCES, *_SETS)
_FINITE = frozenset({str, int, bool, type(None), bytes, Decimal, UUID, datetime, date, time, timedelta})


def holds_non_finite(data: Any) -> bool:
    """Whether plain data have NaN or infinity in them."""
    if isinstance(data, float):
        return not isfinite(data)
    if isinstance(data, Enum):
        return holds_non_finite(data.value)
    if isinstance(data, dict):
        data = data.values()
    elif not isinstance(data, _SEQUENCES):
        return False
    # One loop, without a call for each leaf: this runs for every body with a null in it.
    for value in data:
        kind = value.__class__
        if kind is float:
            if value - value != 0.0:  # true for NaN and infinity only
                return True
        elif kind not in _FINITE and holds_non_finite(value):
            return True
    return False


def reject_non_finite(place: str = "") -> NoReturn:
    """Raise the `ValueError`."""
    raise ValueError(f"cannot be written as JSON: {place or 'it'} holds a float that is NaN or infinite")


def reject_lost_floats(body: bytes, written: Callable[[], Any]) -> None:
    """Reject a body that has a null where the value has NaN or infinity.

    Args:
        body: JSON with a null in it.
        written: Gives the value's data as pydantic writes them for Python, where a float is still one.
    """
    place = _lost(written(), json.loads(body), "")
    if place is not None:
        reject_non_finite(place)


def _lost(data: Any, said: Any, place: str) -> str | None:
    """Where `said`, which is JSON, has a null instead of a float of `data`."""
    if said is None:
        return place if holds_non_finite(data) else None
    if isinstance(data, dict) and isinstance(said, dict) and len(data) == len(said):
        parts = list(zip(data.values(), said.items(), strict=True))  # a key may be written differently
        pairs = [(value, item, f"{place}.{key}" if place else key) for value, (key, item) in parts]
    elif isinstance(data, _SEQUENCES) and isinstance(said, list) and len(data) == len(said):
        pairs = [(value, item, place) for value, item in zip(data, said, strict=True)]
    elif isinstance(data, _SETS) and isinstance(said, list):  # in no order
        return place if None in said and any(map(holds_non_finite, data)) else None
    else:
        return None
    return next((found for pair in pairs if (found := _lost(*pair)) is not None), None)


def is_finite_throughout(value: Any) -> bool:
    """Whether an object surely has neither NaN nor infinity in it, found out without writing it."""
    kind = value.__class__
    if kind in _FINITE:
        return True
    if kind is dict:
        values = value.values()
    elif kind in _CONTAINERS:
        values = value
    elif _writes_its_fields(kind):
        values = value.__dict__.values()
        if value.__pydantic_extra__ and not is_finite_throughout(value.__pydantic_extra__):
            return False
    else:
        return kind is float and isfinite(value)
    for each in values:
        kind = each.__class__
        if kind is float:
            if each - each != 0.0:
                return False
        elif kind not in _FINITE and not is_finite_throughout(each):
            return False
    return True


@cache
def _writes_its_fields(kind: type) -> bool:
    """Whether exactly the fields of such an object are written."""
    if not issubclass(kind, BaseModel):
        return False
    decorators = kind.__pydantic_decorators__
    return not (decorators.computed_fields or decorators.field_serializers or decorators.model_serializers)


def reject_masked(body: bytes | str, written: Callable[[], Any]) -> None:
    """Reject a body with the asterisks that pydantic writes for a secret.

    Args:
        body: What would be sent.
        written: Gives the value's data as pydantic writes them for Python, where a secret is still an object.

    Raises:
        ValueError: with the place and what to do.
    """
    body = body if isinstance(body, str) else body.decode("utf-8", "replace")
    for place, secret in _secrets(written(), ""):
        mask = str(secret).removeprefix("b'").removesuffix("'")
        if mask and mask in body:  # an empty secret has no mask, and a user's serializer may write none
            raise ValueError(
                f"{place or 'the value'} is a {type(secret).__name__}, which pydantic writes as asterisks; "
                "declare it as str or bytes, or give the model a field_serializer that returns get_secret_value()"
            )


def _secrets(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, SECRETS):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, _CONTAINERS):
        for item in value:
            yield from _secrets(item, place)
    elif isinstance(value, BaseModel):
        yield from _secrets(dict(value), place)
