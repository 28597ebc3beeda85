"""Names of other libraries, so that programs written for those run on Penstock."""

from __future__ import annotations

__version__ = "0.1.0"
