"""JSON ↔ plain data, strictly: a value that JSON cannot express is rejected, never changed."""

from __future__ import annotations

import json
from typing import Any

import orjson

from penstock.builtin.writing import holds_non_finite, reject_non_finite
from penstock.errors import DecodeError
from penstock.serializers import Serializer

# Turns digits into zeros: searching a run of them is ten times faster than a regular expression.
_SHAPE = bytes.maketrans(b"123456789", b"000000000")
_BEYOND_64_BITS = b"0" * 19  # digits; shorter integers fit into 64 bits

# orjson would write these in formats of its own. (It has no such switch for a UUID or an enum member.)
_PLAIN_ONLY = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


class JsonSerializer(Serializer):
    """JSON in UTF-8.

    Reading rejects, with a `ValueError`, whatever the standard rejects (NaN and infinity, a lone surrogate, a second
    document) and nesting deeper than 1,024. An integer keeps all its digits; a number with a fraction becomes a float.

    Writing takes str, int (64 bits), float, bool, None, dicts with str keys, lists and tuples of those; a UUID as its
    text, an enum member as its value. It rejects everything else, NaN and infinity included, with a `ValueError`.
    """

    format = "json"

    def serialize(self, data: Any) -> bytes:
        """See `Serializer.serialize`."""
        try:
            body = orjson.dumps(data, None, _PLAIN_ONLY)
        except TypeError as error:
            raise ValueError(f"cannot be written as JSON: {error}") from error
        # orjson writes null for NaN: only a body with a null needs the check. (`in` takes twice as long.)
        if body.find(b"null") >= 0 and holds_non_finite(data):
            reject_non_finite()
        return body

    def deserialize(self, body: bytes) -> Any:
        """See `Serializer.deserialize`."""
        data = orjson.loads(body)
        if isinstance(body, bytes) and body.translate(_SHAPE).find(_BEYOND_64_BITS) >= 0:
            return _loads_exactly(body)  # orjson reads longer integers as floats
        return data


def _loads_exactly(body: bytes) -> Any:
    """Read JSON that orjson has accepted, with integers of any length."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DecodeError(
            "the body has an integer of more than 4,300 digits, or long integers nested too deeply"
        ) from error
