"""From what the user wrote to what the engine opens: model, files, environment, resolve, schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.exports import lazy_exports

if not TYPE_CHECKING:
    __getattr__ = lazy_exports(__name__, {"QueueConfig": "penstock.config.model"})
