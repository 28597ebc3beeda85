"""Tracebacks without the frames of Penstock, which say nothing about an error of the program."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

_OURS = f"{Path(__file__).parents[1]}/"


def is_ours(file: str) -> bool:
    """Whether a file of code belongs to the core."""
    return file.startswith(_OURS)


def without_ours(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without our frames, but for the one that raised; as it is if there are no others."""
    entries = []
    each = trace
    while each is not None:
        entries.append(each)
        each = each.tb_next
    theirs = [entry for entry in entries if not is_ours(entry.tb_frame.f_code.co_filename)]
    if len(theirs) in (0, len(entries)):
        return trace
    if theirs[-1] is not entries[-1]:
        theirs.append(entries[-1])
    result: TracebackType | None = None
    for entry in reversed(theirs):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result


def place_of(trace: TracebackType | None) -> str:
    """`shop.py:12`: the innermost line that is not ours; "" if there is none."""
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not is_ours(file):
            place = f"{Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
