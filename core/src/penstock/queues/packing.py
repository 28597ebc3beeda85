"""Key and headers that travel inside bodies: in envelopes, or where the serializer's format has a place for headers."""

from __future__ import annotations

from collections.abc import Sequence

from penstock import envelope
from penstock.message import QueueMessage, Record
from penstock.queues.resolved_queue import ResolvedQueue


class Packing:
    """What one queue packs into bodies and takes out of them.

    Attributes:
        opens_envelopes: Messages may come in envelopes.
        needed: Bodies may hold more than data: call `unpack` for a copy of each message that is packed.
    """

    def __init__(self, resolved: ResolvedQueue) -> None:
        serializer = resolved.serializer
        self._resolved = resolved
        self._serializer = serializer if serializer is not None and serializer.headers_in_body else None
        self._carries_less = envelope.uses_envelope(resolved.capabilities)
        self.opens_envelopes = resolved.envelope and self._carries_less
        self.needed = self.opens_envelopes or self._serializer is not None

    def is_packed(self, message: QueueMessage) -> bool:
        """Whether `unpack` may change the message."""
        return self._serializer is not None or envelope.is_envelope(message.message)

    def unpack(self, message: QueueMessage) -> None:
        """Take body, key and headers out of what they came in. The message is changed, so give it a copy.

        Raises:
            DecodeError: it is an envelope, and damaged.
        """
        if self.opens_envelopes:
            open_envelope(message)
        if self._serializer is not None and message.message is not None:
            message.headers = [*message.headers, *self._serializer.read_headers(message)]

    def pack(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records as they are sent."""
        if self._serializer is not None:
            records = [self._serializer.write_headers(record) for record in records]
        if not self._carries_less:
            return records
        resolved = self._resolved
        return [envelope.carried(record, resolved.capabilities, wrapped=resolved.envelope) for record in records]


def open_envelope(message: QueueMessage) -> None:
    """Take body, key and headers out of the envelope they came in; a plain body is left as it is.

    The message is changed, so give it a copy: opened again, a body that begins like an envelope would be lost.

    Raises:
        DecodeError: it is an envelope, and damaged.
    """
    if message.message is not None and (opened := envelope.unwrap(message.message)) is not None:
        message.message, message.key, message.headers = opened
