"""Header pairs as JSON, which people and SQL can read, and back byte for byte.

    [["traceparent", "00-4bf9…"], ["signature", {"base64": "/w=="}], ["flag", null]]

Pairs in order, names may repeat, a value may be null. What is valid UTF-8 is written as text; anything else, and text
with a NUL, which jsonb cannot hold, as base64. The same goes for a name. In a database of another encoding than UTF-8,
which cannot write every character, only ASCII is text.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from penstock.errors import DecodeError
from penstock.message import Headers

UTF_8 = "UTF8"
"""What PostgreSQL calls it."""


def written(headers: Headers, encoding: str = UTF_8) -> str | None:
    """The JSON text of header pairs; None if there are none.

    Args:
        headers: Pairs.
        encoding: The database's, by PostgreSQL's name.
    """
    if not headers:
        return None
    codec = "utf-8" if encoding == UTF_8 else "ascii"
    # A lone surrogate is legal in a Python string, and in no database.
    pairs = [
        [_text(name.encode("utf-8", "surrogatepass"), codec), None if value is None else _text(value, codec)]
        for name, value in headers
    ]
    return json.dumps(pairs, ensure_ascii=False)


def read(text: str | None) -> Headers:
    """Header pairs from their JSON text.

    Raises:
        DecodeError: somebody else wrote it, and it is no list of pairs.
    """
    if text is None:
        return ()
    try:
        return [
            (_read(name).decode("utf-8", "surrogatepass"), None if value is None else _read(value))
            for name, value in json.loads(text)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise DecodeError("the headers of this message are no list of pairs of text or base64") from error


def _text(value: bytes, codec: str) -> str | dict[str, str]:
    if b"\0" not in value:
        try:
            return value.decode(codec)
        except UnicodeDecodeError:
            pass  # then it is no text
    return {"base64": base64.b64encode(value).decode("ascii")}


def _read(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    return base64.b64decode(value["base64"], validate=True)
