"""JSON ↔ plain data, strictly: what JSON cannot say is refused and never rewritten."""

from __future__ import annotations

from math import isfinite
from typing import Any

import orjson

from penstock.serializers import Serializer

_SEQUENCES = (list, tuple)  # `list | tuple` would be made anew for each call
_FINITE = frozenset({str, int, bool, type(None)})

# orjson would write these as text of its own choice. (It has no such switch for a UUID or an enum member.)
_PLAIN_ONLY = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


class JsonSerializer(Serializer):
    """JSON in UTF-8.

    Reading refuses, with a `ValueError`, whatever the standard refuses (NaN and infinity, a lone surrogate, a second
    document) and nesting deeper than 1,024. An integer beyond 64 bits becomes a float.

    Writing takes str, int (64 bits), float, bool, None, dicts with str keys, lists and tuples of those; a UUID as its
    text, an enum member as its value. It refuses everything else, NaN and infinity included, with a `ValueError`.
    """

    format = "json"

    def serialize(self, data: Any) -> bytes:
        """See `Serializer.serialize`."""
        try:
            body = orjson.dumps(data, None, _PLAIN_ONLY)
        except TypeError as error:
            raise ValueError(f"cannot be written as JSON: {error}") from error
        # orjson writes null for NaN: only a body with a null in it is worth the walk. (`in` takes twice as long.)
        if body.find(b"null") >= 0 and _holds_non_finite(data):
            raise ValueError("cannot be written as JSON: it holds a float that is NaN or infinite")
        return body

    # The function itself: a method around it would cost 50 ns a message.
    deserialize = staticmethod(orjson.loads)  # type: ignore[assignment]


def _holds_non_finite(data: Any) -> bool:
    if isinstance(data, float):
        return not isfinite(data)
    if isinstance(data, dict):
        data = data.values()
    elif not isinstance(data, _SEQUENCES):
        return False
    # One loop without a call for a leaf: this runs for every body with a null in it.
    for value in data:
        kind = value.__class__
        if kind is float:
            if value - value != 0.0:  # so are NaN and infinity, and no other float
                return True
        elif kind not in _FINITE and _holds_non_finite(value):
            return True
    return False
