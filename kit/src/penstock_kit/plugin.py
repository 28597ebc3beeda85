"""The plugin: it offers the command `penstock new`."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.hookspecs import hookimpl
from penstock.specs import CommandSpec

PLUGIN_API = 1


@hookimpl
def penstock_commands() -> Sequence[CommandSpec]:
    """`penstock new plugin NAME`."""
    return [CommandSpec("new", "penstock_kit.new:NewCommand", summary="write a plugin that works, to start from")]
