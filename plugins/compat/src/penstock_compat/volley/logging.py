"""As `volley.logging`."""

from __future__ import annotations

import logging

__all__ = ["logger"]

logger = logging.getLogger("penstock.compat")
