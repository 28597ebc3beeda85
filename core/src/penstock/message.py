"""The messages: `QueueMessage` in, `Record` out, and the names of the headers that Penstock writes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal, Self, TypeVar

Headers = Sequence[tuple[str, bytes | None]]
"""Header pairs in their order. A name may repeat; a value is bytes, or None where the backend has nulls."""

HEADER_PREFIX = "penstock-"

# The headers that a dead letter has beside its own. Text is UTF-8.
ERROR_STAGE = HEADER_PREFIX + "error-stage"  # decode, validate, function, output, produce, delivery
ERROR_TYPE = HEADER_PREFIX + "error-type"  # the class of the exception
ERROR_TEXT = HEADER_PREFIX + "error-text"  # its text, cut to 1,000 characters, message data left out
ATTEMPTS = HEADER_PREFIX + "attempts"  # how often the function was tried
ORIGIN_QUEUE = HEADER_PREFIX + "origin-queue"  # the backend's name of the queue it came from
ORIGIN_POSITION = HEADER_PREFIX + "origin-position"  # where in it (partition/offset, id, …)
FAILED_AT = HEADER_PREFIX + "failed-at"  # RFC 3339, UTC
APP = HEADER_PREFIX + "app"  # the engine's app_name


class QueueMessage:
    """One delivery of one message, as a consumer hands it to the engine.

    A connector may subclass it and fill `key`, `headers`, `timestamp` or `position` on first use by properties, so that
    a message that needs none of them pays for none.

    Attributes:
        message_context: The backend's own handle (a Kafka message, an RSMQ id, a row id); what `msg_ctx` shows to the
            function and what the connector needs to settle this delivery.
        message: The body; None only for a tombstone (a backend's explicit null).
        key: The partitioning or grouping key, or None.
        headers: Header pairs, empty where the backend has none.
        timestamp: When the message was produced, in seconds since the epoch by the backend's clock; None if unknown.
        attempts: The number of this delivery, from 1. From the backend's own counter where it has one.
        position: Where the message stands in its queue, as text for logs and dead letters ("0/42", an id).
        abandoned: How often a worker died with this message, as far as is known. 0: never delivered before, or the last
            delivery was requeued, or its lease ended in this very process. 1: a worker died, or its lease ended, while
            it had this message among others. More: 1 plus the calls that `Consumer.begin_call` recorded and nothing
            ended. None: the connector cannot tell a requeue from a death, so only `attempts` is known.
    """

    __slots__ = ("abandoned", "attempts", "headers", "key", "message", "message_context", "position", "timestamp")

    def __init__(
        self,
        message_context: Any,
        message: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: float | None = None,
        attempts: int = 1,
        position: str = "",
        abandoned: int | None = None,
    ) -> None:
        self.message_context = message_context
        self.message = message
        self.key = key
        self.headers = headers
        self.timestamp = timestamp
        self.attempts = attempts
        self.position = position
        self.abandoned = abandoned

    def __copy__(self) -> Self:
        # By the slots themselves: a subclass may have a property in the place of one.
        copied = object.__new__(type(self))
        for kind in type(self).__mro__:
            for name in vars(kind).get("__slots__", ()):
                slot = vars(kind)[name]
                with suppress(AttributeError):  # it was never filled
                    slot.__set__(copied, slot.__get__(self))
        if hasattr(self, "__dict__"):
            copied.__dict__.update(self.__dict__)
        return copied

    def __repr__(self) -> str:
        # Without the body: a repr may be logged.
        size = "tombstone" if self.message is None else f"{len(self.message)} bytes"
        return f"<{type(self).__name__} {self.position or '?'}, {size}, attempt {self.attempts}>"


M = TypeVar("M", bound=QueueMessage, covariant=True)


class LazyMessages(Sequence[M]):
    """The messages of one `Consumer.consume`, made when one of them is asked for.

    A connector may return it in the place of a list: a program that reads whole lists by `Queues.read` may need their
    bodies alone, and settle all at once. An engine asks for the messages.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: Sequence[M] | None = None

    @property
    @abstractmethod
    def bodies(self) -> Sequence[bytes | None]:
        """The body of each message."""

    @abstractmethod
    def make(self) -> Sequence[M]:
        """Make the messages; called once at most."""

    @property
    def made(self) -> bool:
        """Whether the messages were made: then each may have been settled by itself."""
        return self._made is not None

    def all(self) -> Sequence[M]:
        """The messages."""
        if self._made is None:
            self._made = self.make()
        return self._made

    def __getitem__(self, index: Any) -> Any:
        return self.all()[index]

    def __iter__(self) -> Iterator[M]:
        return iter(self.all())


BrowseState = Literal["waiting", "leased", "delayed", "kept", "settled", "unknown"]
"""What a browsed message was doing. "waiting": it can be delivered now. "leased": a consumer has it. "delayed": it is
held back until a later time. "kept": a log keeps it, and the group of this queue has not settled it, as far as is
known. "settled": a log keeps it, although this group has settled it. "unknown": the backend cannot tell.
"""


class BrowsedMessage(QueueMessage):
    """A message that `Consumer.browse` has read. It is not a delivery, so it cannot be settled.

    Its `message_context` is None. Its `attempts` is the number of deliveries so far, 0 if there was none or if the
    backend does not count them.

    Attributes:
        state: What the message was doing when it was read.
    """

    __slots__ = ("state",)

    def __init__(
        self,
        message: bytes | None,
        position: str,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: float | None = None,
        attempts: int = 0,
        state: BrowseState = "unknown",
    ) -> None:
        super().__init__(None, message, key, headers, timestamp, attempts, position)
        self.state = state


class Record:
    """One encoded message on its way to a queue.

    Attributes:
        message: The body; None is a tombstone, for backends that have them.
        key: The partitioning or grouping key, or None.
        headers: Header pairs.
        delay: Seconds until the message may be delivered; 0 is now.
        options: Further keywords for the connector, by its own names (a Kafka partition, a priority).
    """

    __slots__ = ("delay", "headers", "key", "message", "options")

    def __init__(
        self,
        message: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        delay: float = 0.0,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.message = message
        self.key = key
        self.headers = headers
        self.delay = delay
        self.options = options

    def __repr__(self) -> str:
        size = "tombstone" if self.message is None else f"{len(self.message)} bytes"
        return f"<Record {size}>"
