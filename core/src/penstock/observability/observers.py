"""Passes events to observers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from penstock.events import Event, Observer

log = logging.getLogger("penstock")


def together(observers: Sequence[Observer]) -> Observer:
    """One observer that passes each event to all of these."""

    def observe(event: Event) -> None:
        for observer in observers:
            observer(event)

    return observe


def guarded(observer: Observer) -> Observer:
    """An observer that never raises: when a program's observer fails, it is reported, and called no more."""
    failed = False

    def observe(event: Event) -> None:
        nonlocal failed
        if failed:
            return
        try:
            observer(event)
        except Exception:
            failed = True
            name = getattr(observer, "__qualname__", type(observer).__qualname__)
            log.exception("observer %s failed, and is told nothing more", name)

    return observe
