"""Prints an object as one line of JSON, which every program and every terminal takes."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import orjson

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def print_object(value: Any) -> None:
    """Print what `orjson.dumps` takes, as one line.

    What is not printed, and where standard output is not UTF-8 all that is not ASCII, is escaped as in JSON.
    """
    text = orjson.dumps(value).decode()
    utf_8 = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    print(_NOT_ASCII.sub(lambda found: _escaped(found[0], keep=utf_8), text))


def _escaped(character: str, *, keep: bool) -> str:
    # Outside of strings JSON is ASCII, so this is always inside of one.
    return character if keep and character.isprintable() else json.dumps(character)[1:-1]
