"""Signatures as Standard Webhooks have them: HMAC-SHA256 over `id.timestamp.body`."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence


def key_of(secret: str) -> bytes | None:
    """The key in a secret, `whsec_` and Base64; None if it is not one."""
    try:
        return b64decode(secret.removeprefix("whsec_"), validate=True) or None
    except ValueError:
        return None


def signed(keys: Sequence[bytes], identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; one signature a key, so that the receiver can change its secret."""
    content = f"{identity}.{timestamp}.".encode() + body
    signatures = (b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
