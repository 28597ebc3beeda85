"""Whether a stream is a terminal that obeys escape sequences, and whether to colour what is written to it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Literal, TextIO

Choice = Literal["auto", "always", "never"]
CHOICES: tuple[Choice, ...] = ("auto", "always", "never")

_choice: Choice = "auto"


def choose(choice: Choice) -> None:
    """Decide for the rest of this process, as `--color` says."""
    global _choice
    _choice = choice


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that obeys escape sequences."""
    return _is_tty(stream) and os.environ.get("TERM", "dumb") not in ("", "dumb")


def is_coloured(stream: TextIO | None) -> bool:
    """Whether to colour what is written to a stream.

    `--color` decides, then a NO_COLOR that is not empty, then a FORCE_COLOR that is not empty, then the stream.
    """
    if _choice != "auto":
        return _choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def is_rich(stream: TextIO | None) -> bool:
    """Whether to write tables and bars to a stream with the library rich, which is optional."""
    return (is_terminal(stream) or is_coloured(stream)) and _has_rich()


def red(text: str, stream: TextIO | None) -> str:
    """A text in red, where its stream is coloured. Needs no library, so that an error is shown at once."""
    return _painted(text, 31, stream)


def green(text: str, stream: TextIO | None) -> str:
    """A text in green, where its stream is coloured."""
    return _painted(text, 32, stream)


def _painted(text: str, code: int, stream: TextIO | None) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if is_coloured(stream) else text


def _is_tty(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


def _has_rich() -> bool:
    try:
        return find_spec("rich") is not None
    except ValueError:  # a program has replaced it
        return False
