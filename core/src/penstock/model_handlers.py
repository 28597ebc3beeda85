"""The contract of a model handler: plain data (or bytes) ↔ the user's data model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar


class ModelHandler(ABC):
    """Builds the user's model from received data, and turns a model into data.

    A handler must have `construct` and `deconstruct`. A handler that turns bytes of a format into a model in one pass
    also names the format in `direct_formats` and overrides `decoder` and `encoder`.
    """

    direct_formats: ClassVar[frozenset[str]] = frozenset()
    """Formats ("json") that this handler reads and writes itself, so that the queue's serializer is skipped."""

    @abstractmethod
    def construct(self, data: Any, data_model: Any) -> Any:
        """Build the model.

        Args:
            data: What the serializer returned; the raw bytes if the queue has no serializer.
            data_model: The queue's data model.

        Raises:
            Exception: the data do not fit; the engine treats the message as invalid.
        """

    @abstractmethod
    def deconstruct(self, model: Any, data_model: Any) -> Any:
        """Turn a model into plain data for the serializer, or into bytes if the queue has none.

        Raises:
            Exception: the value does not fit the model; the engine treats it as a programming error of the function.
        """

    def decoder(self, data_model: Any, format: str) -> Callable[[Any], Any]:  # noqa: A002, ARG002
        """A callable that does what `construct` does, made once for a queue.

        Args:
            data_model: The queue's data model.
            format: One of `direct_formats`, then the callable gets bytes of it; or "", then it gets plain data.
        """
        construct = self.construct
        return lambda data: construct(data, data_model)

    def encoder(self, data_model: Any, format: str) -> Callable[[Any], Any]:  # noqa: A002, ARG002
        """A callable that turns a model into bytes of `format`, or into plain data if that is ""."""
        deconstruct = self.deconstruct
        return lambda model: deconstruct(model, data_model)
