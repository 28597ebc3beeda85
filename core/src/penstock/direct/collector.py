"""Pauses Python's cyclic garbage collector while the objects of a list are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Let the collector wait until the block ends; nothing changes if it is turned off.

    It would start every 700 objects, in the middle of a list, walk all that the program has loaded now and then, and
    find nothing, because the list keeps them all.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
