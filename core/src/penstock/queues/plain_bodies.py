"""Bodies that are data: what a producer written one message at a time gets where the queue has no serializer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pydantic_core import from_json, to_json

from penstock.model_handlers import ModelHandler
from penstock.serializers import Serializer


class PlainBody(bytes):
    """The JSON of an output, for all that counts or keeps bodies, and the data themselves, for the producer."""

    data: Any

    @classmethod
    def of(cls, data: Any) -> Self:
        """The body of data; what JSON cannot write is null in it."""
        body = cls(to_json(data, fallback=lambda _: None))
        body.data = data
        return body


class PlainBodySerializer(Serializer):
    """Writes and reads the JSON of such bodies."""

    format: ClassVar[str] = "json"

    def serialize(self, data: Any) -> bytes:
        """See `Serializer.serialize`."""
        return PlainBody.of(data)

    def deserialize(self, body: bytes) -> Any:
        """See `Serializer.deserialize`."""
        return from_json(body)


def plain_encoder(handler: ModelHandler | None, data_model: Any) -> Callable[[Any], bytes | None]:
    """A callable that turns an object into the data that the model handler makes of it; bytes stay bytes."""
    take_apart: Callable[[Any], Any] = _same if handler is None else handler.encoder(data_model, "")

    def encode(obj: Any) -> bytes | None:
        plain = obj if obj is None or isinstance(obj, bytes) else take_apart(obj)
        return plain if plain is None or isinstance(plain, bytes) else PlainBody.of(plain)

    return encode


def _same(obj: Any) -> Any:
    return obj
