"""Log calls that never fail while a worker runs: what cannot be logged costs no message."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from penstock.observability.log_fields import add_fields
from penstock.observability.printable import make_fit

_OURS = ("penstock", "asyncio")  # whose lines quote what others say; the function's own are its own

_active = 0  # workers that run in this process
_reported: set[tuple[str, str]] = set()


@contextmanager
def unfailing_logs() -> Iterator[None]:
    """While the block runs, no log call of this process raises what a handler, filter or formatter raises.

    This holds for Penstock, for connectors and their clients, and for the function: each handler fails alone, and the
    first failure of its kind is written to standard error. What Penstock logs is escaped and cut. Only
    KeyboardInterrupt and SystemExit pass.
    """
    global _active
    _install()
    _active += 1
    try:
        yield
    finally:
        _active -= 1


@functools.cache
def _install() -> None:
    # A handler that calls a service may fail in any way, and a log call of a client library or of the function would
    # pass that on: all of them go through these two methods.
    logging.Handler.handle = _unfailing(logging.Handler.handle)  # type: ignore[method-assign]
    logging.Logger.handle = _unfailing(logging.Logger.handle)  # type: ignore[method-assign]


def _unfailing(handle: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handle)
    def unfailing(self: logging.Handler | logging.Logger, record: logging.LogRecord) -> Any:
        if not _active:
            return handle(self, record)
        try:
            if isinstance(self, logging.Logger) and record.name.startswith(_OURS):
                add_fields(record)
                make_fit(record)
            return handle(self, record)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (whatever it is, the message that was worked on must not pay)
            _report(self, error)
            return False

    # Handlers that look for the caller, to pass a record on to another library, skip what lies in `logging`.
    function: Any = unfailing
    function.__code__ = function.__code__.replace(co_filename=logging.addLevelName.__code__.co_filename)
    return unfailing


def _report(source: logging.Handler | logging.Logger, error: BaseException) -> None:
    kind = ("Logger" if isinstance(source, logging.Logger) else type(source).__name__, type(error).__name__)
    if kind in _reported:
        return
    _reported.add(kind)
    with suppress(Exception):
        sys.stderr.write(f"penstock: logging failed: {kind[0]} raised {kind[1]}; lines that it fails for are dropped\n")
