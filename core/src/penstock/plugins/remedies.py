"""What to do about a plugin that fails: the end of every error about one."""

from __future__ import annotations

from penstock.plugins.discovery import Entry, core_version
from penstock.plugins.hints import CORE, extra_of, install


def after_import(entry: Entry, wanted: str, error: BaseException | None) -> str:
    """What to do when importing `wanted`, a module or import string of a plugin, raised `error`."""
    if not isinstance(error, ImportError) or not error.name:
        return author(entry)
    missing = error.name.partition(".")[0]
    if missing == CORE:
        return f"it was not written for {core_version()}; pip install --upgrade {CORE} {entry.distribution}"
    if missing == wanted.partition(":")[0].partition(".")[0]:
        return reinstall(entry)
    extra = extra_of(entry.distribution)
    return f"install what it needs: pip install {entry.distribution}" if extra is None else install(extra)


def author(entry: Entry) -> str:
    """A fault in the plugin's code."""
    return f"pip install --upgrade {entry.distribution}, or tell its author"


def reinstall(entry: Entry) -> str:
    """A fault in what is on the disk."""
    return f"pip install --force-reinstall {entry.distribution}"
