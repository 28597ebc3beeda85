"""Where a worker must not be started: while a program is imported, and inside an event loop that runs already."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import ConfigError, PenstockError

_OURS = Path(__file__).parent
_importing = threading.local()


@contextmanager
def importing() -> Iterator[None]:
    """During this block, a program is imported on this thread to find what it defines, not to be started."""
    depth: int = getattr(_importing, "depth", 0)
    _importing.depth = depth + 1
    try:
        yield
    finally:
        _importing.depth = depth


def reject_start_in_import() -> None:
    """Check a call that starts a worker.

    Raises:
        ConfigError: a program that is being imported makes it, so the import would never end.
    """
    if getattr(_importing, "depth", 0):
        raise ConfigError(
            f'{_caller()}: this starts the worker while the file is only imported; write `if __name__ == "__main__":` '
            "above it, and indent it"
        )


def reject_start_in_loop(instead: str) -> None:
    """Check a call that needs an event loop of its own.

    Raises:
        PenstockError: one runs already on this thread, as in a notebook; with what to write instead.
    """
    import asyncio  # here: a program that only declares an engine needs none

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise PenstockError(f"{_caller()}: an event loop runs here already, as in a notebook; write {instead}")


def _caller() -> str:
    """The line of the program that led here."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _is_machinery(Path(frame.f_code.co_filename)):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{frame.f_lineno}"


def _is_machinery(file: Path) -> bool:
    return file.is_relative_to(_OURS) or file.parent.name == "asyncio"
