"""As `volley.serializers.base`."""

from __future__ import annotations

from penstock.serializers import Serializer as BaseSerialization

__all__ = ["BaseSerialization"]
