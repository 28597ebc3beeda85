"""Waiting for events: the limits are generous, for a machine that does other things as well."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST = 90.0  # seconds for anything that must happen
LOOK = 0.05  # seconds between two looks


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
