"""The contract of a serializer: bytes ↔ plain Python data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.exports import lazy_exports
from penstock.message import Headers, QueueMessage, Record

if not TYPE_CHECKING:
    __path__: list[str] = []  # so that a distribution may offer modules below this one
    __getattr__ = lazy_exports(__name__, {})


class Serializer(ABC):
    """Turns plain data (dict, list, str, int, float, bool, None, bytes where the format has them) into bytes and back.

    One instance serves one queue. It may be called from several threads at once (`concurrency`), so its
    calls share no state without a lock.
    """

    format: ClassVar[str] = ""
    """The wire format's name ("json", "msgpack"). A model handler that reads it itself skips the serializer."""

    headers_in_body: ClassVar[bool] = False
    """The format has a place for headers inside the body, so `read_headers` and `write_headers` are called, too."""

    @abstractmethod
    def serialize(self, data: Any) -> bytes:
        """Encode plain data.

        Raises:
            Exception: whatever the library raises; the engine treats it as an output that cannot be encoded.
        """

    @abstractmethod
    def deserialize(self, body: bytes) -> Any:
        """Decode a body.

        Raises:
            Exception: whatever the library raises, for bytes that are not of this format; the engine treats it as
                a message that does not parse. It must not crash or hang on hostile input.
        """

    def read_headers(self, message: QueueMessage) -> Headers:  # noqa: ARG002  (what derives from this, reads it)
        """The headers inside a body; none if it is not of this format: `deserialize` says what is wrong with it."""
        return ()

    def write_headers(self, record: Record) -> Record:
        """A copy of the record whose body carries the headers that this format has a place for."""
        return record
