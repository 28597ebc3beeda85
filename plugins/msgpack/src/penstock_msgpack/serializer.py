"""The serializer: strict on what it reads, because bodies come from anywhere."""

from __future__ import annotations

from typing import Any, ClassVar

from msgpack import Packer, unpackb  # type: ignore[import-untyped]  # it ships no types

from penstock.serializers import Serializer

AS_DATETIME = 3
"""msgpack's number for "a timestamp becomes a `datetime` in UTC"."""


class MsgpackSerializer(Serializer):
    """MessagePack as its specification says: text is str, binary is bytes, a timestamp is an aware `datetime`.

    Everything else that the format could carry is refused: extension types, map keys other than text and binary, text
    that is not UTF-8, bytes after the end, a length that the body does not have, nesting deeper than msgpack's own
    stack (1,024 levels when reading, 511 when writing).
    """

    format: ClassVar[str] = "msgpack"

    def __init__(self) -> None:
        # Kept, because making one costs as much as packing a small message. What it could not pack, it forgets.
        self._pack = Packer(datetime=True).pack

    def serialize(self, data: Any) -> bytes:
        """Encode plain data.

        Raises:
            TypeError: of a type that MessagePack does not have (a set, a Decimal, a naive datetime, a model).
            OverflowError: an integer of more than 64 bits.
            ValueError: nested too deeply, or text with a lone surrogate.
        """
        body: bytes = self._pack(data)
        return body

    def deserialize(self, body: bytes) -> Any:
        """Decode a body that is exactly one value.

        Raises:
            ValueError: it is not, or holds something that is refused.
            OverflowError: a timestamp outside the years 1 to 9999.
        """
        return unpackb(body, strict_map_key=True, timestamp=AS_DATETIME, ext_hook=_refuse)


def _refuse(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code} ({len(data)} bytes): a body holds plain data and timestamps only")
