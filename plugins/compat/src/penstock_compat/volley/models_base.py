"""As `volley.models.base`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["BaseModelHandler"]


class BaseModelHandler(ABC):
    """A model handler of py-volley: `deconstruct` gets the object alone."""

    @abstractmethod
    def construct(self, message: Any, schema: Any) -> Any:
        """Make an object of what the serializer returned."""

    @abstractmethod
    def deconstruct(self, model: Any) -> Any:
        """Make plain data, or bytes, of an object."""
