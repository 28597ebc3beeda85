"""What this distribution offers; msgpack is imported when a queue uses it."""

from __future__ import annotations

from penstock.hookspecs import hookimpl
from penstock.specs import SerializerSpec

PLUGIN_API = 1


@hookimpl
def penstock_serializers() -> list[SerializerSpec]:
    """The serializer `msgpack`."""
    return [
        SerializerSpec(
            "msgpack",
            "penstock_msgpack.serializer:MsgpackSerializer",
            summary="MessagePack: compact, and bytes stay bytes",
        )
    ]
