"""Waiting for events: the limits are generous, for a machine that does other things as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LONGEST = 90.0  # seconds for anything that must happen
LOOK = 0.05  # seconds between two looks
REST = 10  # times as long as a look took: the ledger leaves the machine to the workers
LONGEST_REST = 2.0  # seconds


class Stopped(Exception):
    """The run was told to end."""


class Stop:
    """Tells every trial that runs that it is to end."""

    def __init__(self) -> None:
        self._set = threading.Event()

    def set(self) -> None:
        """From now on `check` raises."""
        self._set.set()

    def check(self) -> None:
        """End the trial that calls this, if `set` was called.

        Raises:
            Stopped: it was.
        """
        if self._set.is_set():
            raise Stopped


def wait_for(true: Callable[[], bool], longest: float = LONGEST) -> bool:
    """Look until it is true.

    Returns:
        Whether it became true within `longest` seconds.
    """
    deadline = time.monotonic() + longest
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True
