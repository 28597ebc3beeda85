"""The core's own plugin: like any other one, found by entry point and hooks."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import MiddlewareSpec, ModelHandlerSpec, SerializerSpec

PLUGIN_API = 1


@hookimpl
def penstock_serializers() -> Sequence[SerializerSpec]:
    """JSON and text."""
    return [
        SerializerSpec("json", target="penstock.builtin.json_serializer:JsonSerializer", summary="JSON, by orjson"),
        SerializerSpec("text", target="penstock.builtin.text_serializer:TextSerializer", summary="text in UTF-8"),
    ]


@hookimpl
def penstock_model_handlers() -> Sequence[ModelHandlerSpec]:
    """Pydantic."""
    return [
        ModelHandlerSpec(
            "pydantic",
            target="penstock.builtin.pydantic_handler:PydanticModelHandler",
            summary="any type that pydantic can build, JSON in one pass",
        )
    ]


@hookimpl
def penstock_middleware() -> Sequence[MiddlewareSpec]:
    """Time and rate limits."""
    return [
        MiddlewareSpec("timeout", target="penstock.builtin.timeout:Timeout", summary="how long one call may take"),
        MiddlewareSpec(
            "rate_limit", target="penstock.builtin.rate_limit:RateLimit", summary="messages a second, for an engine"
        ),
    ]
