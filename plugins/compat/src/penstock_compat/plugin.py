"""What this distribution offers to configurations. Its names are in the entry points `penstock.names`."""

from __future__ import annotations

from penstock.hookspecs import hookimpl
from penstock.specs import SerializerSpec

PLUGIN_API = 1


@hookimpl
def penstock_serializers() -> list[SerializerSpec]:
    """The serializer `phq`."""
    target = "penstock_compat.predicthq.serializer:PhqSerializer"
    return [SerializerSpec("phq", target, summary='the wire format of predicthq-kafka, {"item", "hist"}')]
