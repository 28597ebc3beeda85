"""As `volley.models`."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import TypeAdapter

from penstock_compat.volley.models_base import BaseModelHandler

__all__ = ["PydanticListParser", "PydanticModelHandler", "PydanticParserModelHandler"]


class PydanticModelHandler(BaseModelHandler):
    """Plain data and models. In a configuration it stands for Penstock's own handler."""

    stands_for: ClassVar[str] = "pydantic"

    def construct(self, message: Any, schema: Any) -> Any:
        """A model of plain data."""
        return TypeAdapter(schema).validate_python(message)

    def deconstruct(self, model: Any) -> Any:
        """The plain data of a model."""
        return model.model_dump()


class PydanticParserModelHandler(BaseModelHandler):
    """JSON and models, without a serializer."""

    def construct(self, message: bytes, schema: Any) -> Any:
        """A model of JSON."""
        return schema.model_validate_json(message)

    def deconstruct(self, model: Any) -> bytes:
        """The JSON of a model."""
        body: str = model.model_dump_json()
        return body.encode()


class PydanticListParser(BaseModelHandler):
    """A list and its models. In a batch, where Penstock reads each message by itself, one message and its model."""

    def construct(self, message: Any, schema: Any) -> Any:
        """The models of a list, or the model of one message; bytes are JSON."""
        data = TypeAdapter(Any).validate_json(message) if isinstance(message, bytes) else message
        return TypeAdapter(list[schema] if isinstance(data, list) else schema).validate_python(data)

    def deconstruct(self, model: Any) -> Any:
        """The plain data of models."""
        return [each.model_dump() for each in model] if isinstance(model, list) else model.model_dump()
