"""What a reader gives: a delivery, or a list of them, to be settled by the reader."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from penstock.message import Headers, QueueMessage

D = TypeVar("D", bound="Received")

_UNREAD = object()


class Received:
    """A message that was delivered, and is not settled yet.

    Attributes:
        message: As the connector gave it, out of its envelope.
        body: Its bytes; None for a tombstone.
        key: The partitioning or grouping key, or None.
        headers: Pairs of a name and its value in bytes.
        position: Where it stands in its queue, as text.
        attempts: The number of this delivery, from 1.
        timestamp: When it was produced, in seconds since the epoch; None if unknown.
    """

    __slots__ = ("_decode", "_object", "message")

    def __init__(self, message: QueueMessage, decode: Callable[[QueueMessage], Any]) -> None:
        self.message = message
        self._decode = decode
        self._object: Any = _UNREAD

    @property
    def object(self) -> Any:
        """What the queue's serializer and model handler make of the body.

        Raises:
            MessageError: they reject it. The delivery can be settled all the same.
        """
        if self._object is _UNREAD:
            self._object = self._decode(self.message)
        return self._object

    @property
    def body(self) -> bytes | None:
        return self.message.message

    @property
    def key(self) -> bytes | None:
        return self.message.key

    @property
    def headers(self) -> Headers:
        return self.message.headers

    @property
    def position(self) -> str:
        return self.message.position

    @property
    def attempts(self) -> int:
        return self.message.attempts

    @property
    def timestamp(self) -> float | None:
        return self.message.timestamp

    def __repr__(self) -> str:
        return f"{type(self).__name__}(position={self.position!r}, attempts={self.attempts})"


class ReceivedBatch(Sequence[D], Generic[D]):
    """Several deliveries, in the order in which they came.

    Args:
        messages: Theirs.
        decode: Makes the objects of messages.
    """

    def __init__(self, messages: Sequence[QueueMessage], decode: Callable[[Sequence[QueueMessage]], list[Any]]) -> None:
        self._messages = messages
        self._decode = decode
        self._objects: list[Any] | None = None

    @property
    def objects(self) -> list[Any]:
        """The object of each.

        Raises:
            MessageError: a body is rejected; `delivery.object` says which.
        """
        if self._objects is None:
            made = self.__dict__.get("_deliveries")
            self._objects = [each.object for each in made] if made else self._decode(self._messages)
        return list(self._objects)

    @abstractmethod
    def _make(self) -> list[D]:
        """Make the deliveries, when one is asked for: a reader of whole lists needs none."""

    @cached_property
    def _deliveries(self) -> Sequence[D]:
        deliveries = self._make()
        for delivery, obj in zip(deliveries, self._objects or (), strict=False):
            delivery._object = obj
        return deliveries

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, index: Any) -> Any:
        return self._deliveries[index]

    def __iter__(self) -> Iterator[D]:
        return iter(self._deliveries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} deliveries)"
