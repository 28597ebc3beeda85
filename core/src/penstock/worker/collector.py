"""Tunes Python's cyclic garbage collector for a process that a worker has to itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (100_000, 50, 100)
"""For `gc.set_threshold`. With Python's own (700 or 2,000) the collector walks the thousands of messages in flight over
and over and finds nothing to free, which costs a third of a worker's CPU time."""

_PYTHONS_OWN = (700, 2_000)  # the first threshold that Python itself sets, by its release

FROZEN_BY_PYTHON = 1_000
"""Fewer objects than this are Python 3.12's own, 375; a program that calls `gc.freeze` freezes 5,000 or more."""


@contextmanager
def tuned_collector() -> Iterator[None]:
    """Run the collector less often, and let it skip all objects that exist before the first message.

    Afterwards its settings are restored. A program that has set thresholds of its own, has frozen objects, or has
    switched the collector off, keeps what it chose.
    """
    before = gc.get_threshold()
    if not gc.isenabled() or before[0] not in _PYTHONS_OWN:
        yield
        return
    freezes = gc.get_freeze_count() < FROZEN_BY_PYTHON  # `unfreeze` would thaw what the program has frozen, too
    if freezes:
        gc.collect()  # first: what is frozen is never freed
        gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if freezes:
            gc.unfreeze()
