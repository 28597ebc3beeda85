"""A body as the text that a Storage Queue stores, and back."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

LARGEST = 64 * 1024
"""Bytes of the text; the service refuses one more."""

# What XML cannot carry, and the carriage return, which every reader of XML turns into a line feed.
_CHANGED = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def encoded(body: bytes, encoding: str) -> str:
    """The text of a body.

    Raises:
        ValueError: it cannot be stored; the error says why.
    """
    if encoding == "base64":
        text = b64encode(body).decode()
    else:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise ValueError("the body is not text in UTF-8; set `encoding: base64`") from None
        if _CHANGED.search(text):
            raise ValueError("the body has characters that a queue of text cannot carry; set `encoding: base64`")
    if (size := len(text.encode())) > LARGEST:
        raise ValueError(f"the body is {size:,} bytes as {encoding}; a Storage Queue takes at most {LARGEST:,}")
    return text


def decoded(text: str, encoding: str) -> bytes:
    """The body of a text. What is not in Base64 was written as plain text, and is handed over as that."""
    if encoding == "base64":
        try:
            return b64decode(text, validate=True)
        except ValueError:
            pass
    return text.encode()
