"""What this distribution offers to configurations: nothing. Its names are in the entry points `penstock.names`."""

from __future__ import annotations

PLUGIN_API = 1
