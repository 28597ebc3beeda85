"""The default data model of profiles."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class GenericMessage(BaseModel):
    """Any JSON object: every key becomes an attribute."""

    model_config = ConfigDict(extra="allow")
