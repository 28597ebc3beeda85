"""For connectors to backends that store text: header pairs as JSON, readable by people and SQL, and back byte for byte.

    [["traceparent", "00-4bf9…"], ["signature", {"base64": "/w=="}], ["flag", null]]

Pairs keep their order, names may repeat, a value may be null. Valid UTF-8 is written as text, anything else as base64;
so is text with a NUL, which some databases cannot hold. The same goes for names.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from penstock.errors import DecodeError
from penstock.message import Headers


def dump_headers(headers: Headers, *, ascii_only: bool = False) -> str | None:
    """The text of header pairs; None if there are none.

    Args:
        headers: Pairs.
        ascii_only: Write only ASCII characters, for a backend that cannot store others.
    """
    if not headers:
        return None
    encoding = "ascii" if ascii_only else "utf-8"
    # A lone surrogate is allowed in a Python string, but in no UTF-8.
    pairs = [
        [_dump(name.encode("utf-8", "surrogatepass"), encoding), None if value is None else _dump(value, encoding)]
        for name, value in headers
    ]
    return json.dumps(pairs, ensure_ascii=False)


def load_headers(text: str | None) -> Headers:
    """Header pairs from their text.

    Raises:
        DecodeError: the text is not a list of pairs; another program wrote it.
    """
    if text is None:
        return ()
    try:
        return [
            (_load(name).decode("utf-8", "surrogatepass"), None if value is None else _load(value))
            for name, value in json.loads(text)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise DecodeError("the headers of this message are not a list of pairs of text or base64") from error


def _dump(value: bytes, encoding: str) -> str | dict[str, str]:
    if b"\0" not in value:
        try:
            return value.decode(encoding)
        except UnicodeDecodeError:
            pass  # then it is not text
    return {"base64": base64.b64encode(value).decode("ascii")}


def _load(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    return base64.b64decode(value["base64"], validate=True)
