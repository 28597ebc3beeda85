"""The keys of an output queue: read from each object, by the queue's `key`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any
from uuid import UUID

from penstock.errors import FunctionError

KeyOf = Callable[[Any], bytes | None]


def key_reader(key: str | Callable[[Any], Any]) -> KeyOf:
    """What reads the key of an object.

    Args:
        key: A field of the object, "user_id" or "customer.id"; or a function of it. Its value is text, bytes, a whole
            number (as text), a UUID (as text), or None for no key.

    Returns:
        A function that raises `FunctionError` for an object without that field, or a value of another type.
    """
    if callable(key):
        name, read = f"the function of {getattr(key, '__qualname__', key)!r}", key
    else:
        name, read = f"the field {key!r}", _field(key)

    def key_of(obj: Any) -> bytes | None:
        value = read(obj)
        if value is None or isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, (int, UUID)) and not isinstance(value, bool):
            return str(value).encode()
        raise FunctionError(
            f"{name} is to be the message's key: text, bytes, a whole number, a UUID or None; it is "
            f"{type(value).__name__}"
        )

    return key_of


def _field(path: str) -> Callable[[Any], Any]:
    names = path.split(".")
    by_attribute = attrgetter(path)

    def read(obj: Any) -> Any:
        try:
            if not isinstance(obj, Mapping):
                return by_attribute(obj)
            for name in names:
                obj = obj[name] if isinstance(obj, Mapping) else getattr(obj, name)
        except (AttributeError, KeyError):
            raise FunctionError(f"an object of {type(obj).__name__} has no {path!r}, the queue's key") from None
        return obj

    return read
