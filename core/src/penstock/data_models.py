"""The default data model of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from penstock.exports import lazy_exports

if not TYPE_CHECKING:
    __getattr__ = lazy_exports(__name__, {})


class GenericMessage(BaseModel):
    """Any JSON object: every key becomes an attribute."""

    model_config = ConfigDict(extra="allow")
