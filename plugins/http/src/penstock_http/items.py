"""The items of an answer in JSON, each as the very bytes that the server sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_decode = json.JSONDecoder().raw_decode


def at(value: Any, pointer: str) -> Any:
    """What a JSON pointer finds in a value; None if it is not there."""
    for token in _tokens(pointer):
        try:
            value = value[int(token)] if isinstance(value, list) else value[token]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return value


def items(text: str, pointer: str) -> list[tuple[Any, str]] | None:
    """The items of the list that a pointer finds in a JSON text: each decoded, and as it stands there.

    Args:
        text: Valid JSON.
        pointer: A JSON pointer.

    Returns:
        None if there is no list.
    """
    for token in _tokens(pointer):
        found = next((raw for key, _, raw in _members(text) if str(key) == token), None)
        if found is None:
            return None
        text = found
    if not text.lstrip().startswith("["):
        return None
    return [(value, raw) for _, value, raw in _members(text)]


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _members(text: str) -> Iterator[tuple[str | int, Any, str]]:
    """Key, value and text of each member of the object or list that a JSON text is; nothing for other values."""
    place, number = _skip(text, 0), 0
    closing = {"[": "]", "{": "}"}.get(text[place])
    if closing is None:
        return
    place = _skip(text, place + 1)
    while text[place] != closing:
        key: str | int = number
        if closing == "}":
            key, place = _decode(text, place)
            place = _skip(text, _skip(text, place) + 1)  # behind the colon
        value, end = _decode(text, place)
        yield key, value, text[place:end]
        place, number = _skip(text, end), number + 1
        if text[place] == ",":
            place = _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    while text[place : place + 1] in ("\t", "\n", "\r", " "):
        place += 1
    return place
