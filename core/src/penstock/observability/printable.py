"""Text from elsewhere, as it may be shown on a terminal and in a log: one line, no escapes, of a bounded length.

A message, a client's error, a plugin's metadata or a file may hold what a terminal obeys, what looks like a line of the
log, or fifty megabytes.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator

from penstock.dead_letters import error_text
from penstock.observability.frames import without_ours

LENGTH = 8_000  # characters of a log line that are kept
TRACE_LENGTH = 32_000  # characters of a traceback
FIRST, LAST = 10, 20  # frames of one exception that are shown; recursion has a thousand
ERRORS = 10  # of a chain, or of one group
NOTES = 10  # of one exception

# Controls but tab and line break, what changes the direction of text or is invisible, halves of surrogate pairs.
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def lines(text: str) -> str:
    """A text with its line breaks, in which everything else that is not printed is escaped."""
    return _UNFIT.sub(_escaped, text)


def one_line(text: str, length: int = LENGTH) -> str:
    """A text on one line, escaped and cut."""
    if len(text) > length:
        text = text[:length] + " …"
    return lines(text).replace("\n", "\\n")


def trace(error: BaseException) -> str:
    """The traceback of an error and of what led to it, as Python prints it, but without our own frames.

    Texts of errors are escaped and cut.
    """
    text = lines("\n".join(_chain(error, set())))
    return text if len(text) <= TRACE_LENGTH else text[:TRACE_LENGTH] + " …"


def make_fit(record: logging.LogRecord) -> None:
    """Escape and cut a log record in place, its traceback included; formatters use what is in it already."""
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001  (wrong arguments: logging says so when it writes the record)
        return
    if (fit := one_line(text)) != text:
        record.msg, record.args = fit, None
    if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
        record.exc_text = trace(record.exc_info[1])


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _chain(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before, how = error.__cause__, "The above exception was the direct cause of the following exception:"
    if before is None and not error.__suppress_context__:
        before, how = error.__context__, "During handling of the above exception, another exception occurred:"
    if before is not None and id(before) not in seen and len(seen) < ERRORS:
        yield from _chain(before, seen)
        yield f"\n{how}\n"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        frames = traceback.extract_tb(without_ours(error.__traceback__))
        for number, frame in enumerate(frames):
            if FIRST <= number < len(frames) - LAST:
                if number == FIRST:
                    yield f"  … {len(frames) - FIRST - LAST} more"
                continue
            yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
            if frame.line:
                yield f"    {one_line(frame.line, 200)}"
    text = error_text(error)
    yield f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__
    for note in getattr(error, "__notes__", ())[:NOTES]:
        yield f"  {one_line(str(note), 1_000)}"
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions[:ERRORS]:
            if id(each) not in seen:
                yield from ("  | " + line for line in "\n".join(_chain(each, seen)).split("\n"))
