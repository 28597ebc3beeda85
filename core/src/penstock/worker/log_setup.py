"""Sets up the log of a process that a worker has to itself; what the program has set up by itself counts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from penstock.config.model import LogSettings
from penstock.observability.log_formats import JsonFormatter, TextFormatter
from penstock.observability.log_lines import OURS, LogLines
from penstock.worker.log_file import apply

Configure = Callable[[LogSettings, str], None]
"""Sets the log up: with the settings, and with the level of Penstock's lines where they name none."""

_FORMATS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


class _Steadfast(logging.Logger):
    """A logger that `dictConfig` cannot disable, as it does by default with all that its mapping does not name."""

    @property
    def disabled(self) -> bool:
        """Never: `setLevel` makes it quiet."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass


_lines: LogLines | None = None  # while a log is set up in this process


@contextmanager
def log_set_up(chosen: LogSettings | None = None) -> Iterator[Configure]:
    """Keep log lines until their format is known, write them while the block runs, and restore what was before.

    Within another such block it changes nothing.

    Args:
        chosen: Settings that are known before the configuration is.
    """
    global _lines
    if _lines is not None:
        yield lambda _settings, _level: None
        return
    own, root = logging.getLogger(OURS), logging.getLogger()
    levels, last_resort = (own.level, root.level), logging.lastResort
    _lines = lines = LogLines()
    changed: list[Callable[[], None]] = []

    def configure(settings: LogSettings, level: str) -> None:
        if settings.config is not None:
            apply(settings.config)
        _set_levels(settings, level)
        lines.use(_FORMATS[settings.format or "text"]())
        if settings.format is not None:
            changed.extend(_reformat(root, _FORMATS[settings.format]()))
        if lines not in own.handlers:  # a `dictConfig` may have taken it away
            own.addHandler(lines)
        changed.extend(_keep_enabled())

    if chosen is not None and chosen.format is not None:
        lines.use(_FORMATS[chosen.format]())
    own.addHandler(lines)
    logging.lastResort = lines
    try:
        yield configure
    finally:
        lines.end()
        _lines = None
        own.removeHandler(lines)
        logging.lastResort = last_resort
        for restore in reversed(changed):
            restore()
        own.setLevel(levels[0])
        root.setLevel(levels[1])


def writes_json() -> bool:
    """Whether all that is written to standard error should be JSON."""
    return _lines is not None and isinstance(_lines.formatter, JsonFormatter)


def _set_levels(settings: LogSettings, level: str) -> None:
    own, root = logging.getLogger(OURS), logging.getLogger()
    if settings.level is None:
        if own.level == logging.NOTSET:
            own.setLevel(level.upper())
        return
    own.setLevel(settings.level.upper())
    if not root.handlers and root.level == logging.WARNING:
        # Libraries say much more at this level than people want to read who look for what a worker does.
        root.setLevel(max(own.level, logging.INFO))


def _reformat(root: logging.Logger, formatter: logging.Formatter) -> Iterator[Callable[[], None]]:
    """Let the program's handlers that write where Penstock does use its format, because somebody asked for it."""
    streams = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    for handler in root.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
            before: Any = handler.formatter
            handler.setFormatter(formatter)
            yield partial(handler.setFormatter, before)


def _keep_enabled() -> Iterator[Callable[[], None]]:
    names = [name for name in logging.root.manager.loggerDict if name == OURS or name.startswith(f"{OURS}.")]
    for logger in map(logging.getLogger, names):
        logger.disabled = False
        if type(logger) is logging.Logger:
            logger.__class__ = _Steadfast
            yield partial(setattr, logger, "__class__", logging.Logger)
