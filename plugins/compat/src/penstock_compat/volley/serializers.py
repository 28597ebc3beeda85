"""As `volley.serializers`. In a configuration each stands for Penstock's own serializer of that format."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from penstock.serializers import Serializer

__all__ = ["JsonSerialization", "MsgPackSerialization", "OrJsonSerialization"]


class JsonSerialization(Serializer):
    """JSON."""

    format: ClassVar[str] = "json"
    stands_for: ClassVar[str] = "json"

    def serialize(self, data: Any) -> bytes:
        """JSON of plain data; what JSON does not have is written as text."""
        return json.dumps(data, default=str).encode()

    def deserialize(self, body: bytes) -> Any:
        """Plain data of JSON."""
        return json.loads(body)


class OrJsonSerialization(JsonSerialization):
    """JSON as well: Penstock writes all JSON by orjson."""

    stands_for: ClassVar[str] = "json"


class MsgPackSerialization(Serializer):
    """MessagePack; called by the program itself it needs the library msgpack."""

    format: ClassVar[str] = "msgpack"
    stands_for: ClassVar[str] = "msgpack"

    def serialize(self, data: Any) -> bytes:
        """MessagePack of plain data."""
        import msgpack  # type: ignore[import-untyped]  # here: most programs only name the class

        body: bytes = msgpack.packb(data)
        return body

    def deserialize(self, body: bytes) -> Any:
        """Plain data of MessagePack."""
        import msgpack

        return msgpack.unpackb(body)
