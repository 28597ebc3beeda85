"""Shortens the traceback of the user's own code: without frames of Penstock and of Python's import machinery."""

from __future__ import annotations

import traceback
from pathlib import Path

OURS = str(Path(__file__).parents[1])


def own_trace(error: BaseException) -> str:
    """Type, text and location of an error, with a line for each call on the way to it."""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{_place(error.filename, error.lineno)}: {type(error).__name__}: {error.msg}"
    steps = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    if not steps:
        return told
    *ways, last = (_place(frame.filename, frame.lineno) for frame in steps)
    return f"{last}: {told}" + "".join(f"\n  by way of {way}" for way in reversed(ways))


def _is_machinery(file: str) -> bool:
    return file.startswith((OURS, "<frozen ")) or Path(file).parent.name == "importlib"


def _place(file: str, line: int | None) -> str:
    path = Path(file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{line}" if line is not None else str(shown)
