"""What to do about a plugin that fails: the last part of each error about one."""

from __future__ import annotations

from penstock.plugins import install_commands
from penstock.plugins.discovery import Entry, core_version
from penstock.plugins.hints import CORE, extra_of
from penstock.shadowing import hidden_library

_PACKAGE = "penstock"
"""The core's import name."""


def after_import(entry: Entry, wanted: str, error: BaseException | None) -> str:
    """What to do when importing `wanted`, a module or import string of a plugin, raised `error`."""
    if not isinstance(error, ImportError) or not error.name:
        return author(entry)
    if hidden_library(error) is not None:
        return f"{entry.distribution} itself is whole"
    missing = error.name.partition(".")[0]
    if missing == _PACKAGE:
        return f"it was not written for {core_version()}; {install_commands.upgrade(CORE, entry.distribution)}"
    if missing == wanted.partition(":")[0].partition(".")[0]:
        return reinstall(entry)
    extra = extra_of(entry.distribution)
    if extra is None:
        return f"install what it needs: {install_commands.install_again(entry.distribution)}"
    return install_commands.install(extra)


def author(entry: Entry) -> str:
    """What to do about a fault in the plugin's code."""
    return f"{install_commands.upgrade(entry.distribution)}, or tell its author"


def reinstall(entry: Entry) -> str:
    """What to do about a fault in the plugin's files."""
    return install_commands.reinstall(entry.distribution)
