"""Finds plugins in the metadata of installed distributions. Imports none of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import importlib_metadata

from penstock.hookspecs import GROUP
from penstock.plugins.hints import CORE, normalised
from penstock.plugins.import_paths import describe


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry point as the metadata describe it; not imported yet.

    Attributes:
        name: The entry point's name.
        module: What it points to ("penstock_kafka.plugin").
        distribution, version: What installed it; "?" where the metadata are damaged.
        problem: What is wrong with the metadata themselves, or "".
    """

    name: str
    module: str
    distribution: str
    version: str
    problem: str = ""

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


def scan() -> tuple[Entry, ...]:
    """Every entry point of the group, the core's own first, then by distribution and name.

    Reads the metadata of all installed distributions (about 30 µs each) once a process, and again only when `sys.path`
    or one of its directories has changed.
    """
    return _scan(tuple((path, _changed(path)) for path in sys.path))


def _changed(path: str) -> int:
    try:
        return os.stat(path or ".").st_mtime_ns
    except OSError:
        return 0  # the path does not exist


@lru_cache(maxsize=4)
def _scan(_path: tuple[tuple[str, int], ...]) -> tuple[Entry, ...]:
    try:
        entries = [_entry(point) for point in importlib_metadata.entry_points(group=GROUP)]
    except Exception:  # noqa: BLE001  (the metadata of some distribution are damaged: read each one by itself)
        entries = list(_scan_one_by_one())
    return tuple(
        sorted(entries, key=lambda e: (normalised(e.distribution) != CORE, normalised(e.distribution), e.name))
    )


def _entry(point: importlib_metadata.EntryPoint) -> Entry:
    return Entry(point.name, point.value, *_identity(point.dist))


def _identity(distribution: Any) -> tuple[str, str]:
    try:
        return distribution.name or "?", distribution.version or "?"
    except Exception:  # noqa: BLE001  (METADATA is missing or damaged; the plugin can still be listed)
        return "?", "?"


def _scan_one_by_one() -> Iterator[Entry]:
    seen: set[str] = set()
    for distribution in importlib_metadata.distributions():
        name, version = _identity(distribution)
        if normalised(name) in seen:
            continue  # the first on the path is the one that is imported
        seen.add(normalised(name))
        try:
            yield from [_entry(point) for point in distribution.entry_points.select(group=GROUP)]
        except Exception as error:  # noqa: BLE001  (only this distribution's entry points cannot be read)
            if _may_offer(distribution, name):
                yield Entry("?", "?", name, version, f"its entry_points.txt cannot be read ({describe(error)})")


def _may_offer(distribution: Any, name: str) -> bool:
    """Whether a distribution whose entry points cannot be read may be a plugin: its other metadata name the core."""
    text = required = None
    with suppress(Exception):  # not UTF-8: look at its other metadata
        text = distribution.read_text("entry_points.txt")
    if text is not None and f"[{GROUP}]" in text:
        return True
    with suppress(Exception):
        required = [normalised(re.split(r"[^\w.-]", each, maxsplit=1)[0]) for each in distribution.requires or ()]
    return CORE in (required or ()) or normalised(name).startswith(f"{GROUP}-")


def core_version() -> str:
    """The version of the installed core, for errors."""
    return f"{CORE} {importlib_metadata.version(CORE)}"
