"""What a process that the function forks must not keep of the worker: its signals, its port and its work."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

generation = 0
"""How many forks this process is away from the first one: what began under another number is our parent's."""

_undo: dict[object, Callable[[], None]] = {}
_local = threading.local()


def on_child(undo: Callable[[], None]) -> Callable[[], None]:
    """Call `undo` in every child that is forked from now on, before it goes on; it must not block.

    Returns:
        A function that ends this.
    """
    key = object()
    _undo[key] = undo

    def forget() -> None:
        _undo.pop(key, None)

    return forget


def end(error: BaseException | None = None) -> NoReturn:
    """End a child that came back out of the function: from here on it would do its parent's work a second time.

    Args:
        error: What it came back with; `sys.exit` gives the exit code.
    """
    code = 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    else:
        with suppress(Exception):
            sys.stderr.write(
                f"penstock: process {os.getpid()}, forked by the function, came back out of it and ends here; let a "
                f"child end with os._exit()\n"
            )
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _before() -> None:
    # A signal for a child that has the worker's handlers yet would be taken for one to the worker, and be lost.
    _local.mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()) if _undo else None


def _in_parent() -> None:
    if (mask := getattr(_local, "mask", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_child() -> None:
    global generation
    generation += 1
    for undo in tuple(_undo.values()):
        with suppress(Exception):
            undo()
    _undo.clear()
    _in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
