"""Text ↔ bytes in UTF-8."""

from __future__ import annotations

from penstock.errors import DecodeError, FunctionError
from penstock.serializers import Serializer


class TextSerializer(Serializer):
    """The body is the text itself, in UTF-8: no quotes, as log lines or CSV have it."""

    format = "text"

    def serialize(self, data: object) -> bytes:
        """See `Serializer.serialize`."""
        if not isinstance(data, str):
            raise FunctionError(f"this queue carries text, so an output for it must be str, not {type(data).__name__}")
        return data.encode()

    def deserialize(self, body: bytes) -> str:
        """See `Serializer.deserialize`."""
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"{error.reason} at byte {error.start}") from error
