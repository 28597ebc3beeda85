"""Where log lines go that no handler of the program takes: to standard error, by one handler.

A live line on the same terminal has to know one place only: each record is one `write` to `sys.stderr`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

from penstock.observability.log_formats import TextFormatter

OURS = "penstock"  # the root of the tree of Penstock's loggers


class LogLines(logging.Handler):
    """Writes what nothing else writes, so that the program's own logging neither silences nor doubles a line.

    It is on Penstock's logger, and Python's handler of last resort for all others. Until `use` is called it keeps its
    records, because their format is not known yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[logging.LogRecord] | None = []

    def use(self, formatter: logging.Formatter) -> None:
        """Write by this formatter from now on, what was kept first."""
        self.setFormatter(formatter)
        kept, self._kept = self._kept, None
        for record in kept or ():
            self._write(record)

    def end(self) -> None:
        """Write what is kept still."""
        if self._kept is not None:
            self.use(TextFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, unless a handler of the program takes it."""
        if self._is_taken(record):
            return
        if self._kept is None:
            self._write(record)
        else:
            self._kept.append(record)

    def _write(self, record: logging.LogRecord) -> None:
        # The stream of this moment: it is replaced while a worker runs.
        stream = sys.stderr
        if stream is None:
            return
        try:
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001  (as the handlers of `logging` do)
            self.handleError(record)

    def _is_taken(self, record: logging.LogRecord) -> bool:
        return any(
            handler is not self and not isinstance(handler, logging.NullHandler) and record.levelno >= handler.level
            for handler in _handlers_of(logging.getLogger(record.name))
        )


def _handlers_of(logger: logging.Logger) -> Iterator[logging.Handler]:
    """The handlers that get a logger's records."""
    each: logging.Logger | None = logger
    while each is not None:
        yield from each.handlers
        each = each.parent if each.propagate else None
