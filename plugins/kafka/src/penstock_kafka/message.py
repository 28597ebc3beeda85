"""A Kafka message. What every message needs is filled in, the rest is read on first use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import Message

from penstock.message import Headers, LazyMessages, QueueMessage

if TYPE_CHECKING:
    from penstock.offsets import Ledger

Partition = tuple[str, int]
"""Topic and partition number."""

log = logging.getLogger("penstock.kafka")

UNREADABLE = "\N{REPLACEMENT CHARACTER}"  # in place of a header's name that is not UTF-8
_NO_TIMESTAMP = 0  # confluent_kafka.TIMESTAMP_NOT_AVAILABLE

# Not called as a method: the interpreter would use the result, and raise the client's error some calls later.
_headers: Callable[[Any], list[tuple[str, Any]] | None] = methodcaller("headers")
_key, _value = Message.key, Message.value


class ClientMessage(QueueMessage):
    """One delivery of a message of the client's, which is its `message_context`."""

    __slots__ = ("_as_it_came", "_source")

    abandoned = None  # Kafka counts no calls; on the class, because a slot would be filled for each message
    _source: Message
    _as_it_came: tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...] | None]

    @property
    def message_context(self) -> Message:
        """The client's message. Because it has setters, its content is saved before the function sees it."""
        source = self._source
        if not hasattr(self, "_as_it_came"):
            headers = self.headers
            self._as_it_came = (source.key(), source.value(), tuple(headers) if headers else None)
        return source

    @property
    def timestamp(self) -> float | None:  # type: ignore[override]
        """When it was produced, or appended, as the topic is configured; seconds since the epoch."""
        return timestamp_of(self._source)

    def source_as_it_came(self) -> Message:
        """The client's message with what the broker sent, even if it was changed."""
        source = self._source
        if hasattr(self, "_as_it_came"):
            key, body, headers = self._as_it_came
            setters: Any = source  # the client's types do not allow None as key and value, which it accepts
            setters.set_key(key)
            setters.set_value(body)
            setters.set_headers(None if headers is None else list(headers))
        return source


class KafkaMessage(ClientMessage):
    """One delivery of one Kafka message.

    Attributes:
        ledger: The assignment that it came with, where it is settled.
        offset: Its offset in its partition.
        requeued: Not set while it is under way; then True if it was requeued, False if it succeeded.
    """

    __slots__ = ("ledger", "offset", "requeued")

    requeued: bool

    def __init__(
        self,
        source: Message,
        body: bytes | None,
        key: bytes | None,
        headers: Headers,
        ledger: Ledger[Partition],
        offset: int,
        attempts: int = 1,
    ) -> None:
        # Without the parent's constructor: it would fill two more slots, and cost one more call for each message.
        self._source = source
        self.message = body
        self.key = key
        self.headers = headers
        self.ledger = ledger
        self.offset = offset
        self.attempts = attempts

    @property
    def position(self) -> str:  # type: ignore[override]
        """Topic, partition and offset: "orders/0/42"."""
        topic, partition = self.ledger.partition
        return f"{topic}/{partition}/{self.offset}"

    @property
    def still_assigned(self) -> bool:
        """False once the partition is revoked or the log was rewound past it."""
        return self.ledger.holds(self.offset)

    def redelivery(self) -> KafkaMessage:
        """The next delivery: what the broker sent, even if this object was changed."""
        source = self.source_as_it_came()
        return KafkaMessage(
            source, source.value(), source.key(), headers_of(source), self.ledger, self.offset, self.attempts + 1
        )


class Run(NamedTuple):
    """Messages of one partition that came in a row: the client's, where they are settled, and their offsets."""

    sources: Sequence[Message]
    ledger: Ledger[Partition]
    offsets: Sequence[int]

    def deliveries(self) -> Iterator[KafkaMessage]:
        """The messages as deliveries."""
        sources, ledger, offsets = self
        bodies, keys = map(_value, sources), map(_key, sources)
        return map(KafkaMessage, sources, bodies, keys, all_headers(sources), repeat(ledger), offsets)


class KafkaMessages(LazyMessages[KafkaMessage]):
    """What one call has taken from the client."""

    __slots__ = ("_count", "_runs")

    def __init__(self, runs: Sequence[Run]) -> None:
        super().__init__()
        self._runs = runs
        self._count = sum(len(run.sources) for run in runs)

    def __len__(self) -> int:
        return self._count

    @property
    def bodies(self) -> list[bytes | None]:
        """See `LazyMessages.bodies`."""
        return [body for run in self._runs for body in map(_value, run.sources)]

    def make(self) -> list[KafkaMessage]:
        """See `LazyMessages.make`."""
        return [message for run in self._runs for message in run.deliveries()]

    def done(self) -> int:
        """Mark all as settled; returns how many came too late. None of them was settled by itself."""
        return sum(run.ledger.done(run.offsets) for run in self._runs)


def all_headers(sources: Sequence[Message]) -> list[Headers]:
    """`headers_of` for each, without a call for each."""
    found: list[Headers] = []
    headers = map(_headers, sources)
    while len(found) < len(sources):
        try:
            for pairs in headers:
                found.append(pairs or ())
        except (SystemError, UnicodeDecodeError):
            # At once: asked again, the client returns what it could not read without an error.
            found.append(_readable_headers(sources[len(found)]))
    return found


def headers_of(source: Message) -> Headers:
    """The headers of a client's message; a value may be None."""
    try:
        return _headers(source) or ()
    except (SystemError, UnicodeDecodeError):
        return _readable_headers(source)


def timestamp_of(source: Message) -> float | None:
    """When a message was produced, or appended, in seconds since the epoch."""
    kind, milliseconds = source.timestamp()
    return None if kind == _NO_TIMESTAMP else milliseconds / 1000


def position_of(source: Message) -> str:
    """Topic, partition and offset of a client's message: "orders/0/42"."""
    return f"{source.topic()}/{source.partition()}/{source.offset()}"


def _readable_headers(source: Message) -> list[tuple[str, bytes | None]]:
    """Headers of a message if the client cannot decode some of the names."""
    log.warning("%s: the name of a header is not UTF-8, and reads as %r", position_of(source), UNREADABLE,
                extra={"position": position_of(source)})  # fmt: skip
    # After it has failed, the client returns a list in which such a name is a null pointer, so only its repr is safe.
    # It is replaced before other code sees it.
    found = [(UNREADABLE, pair[1]) if repr(pair).startswith("(<NULL>, ") else pair for pair in _headers(source) or []]
    source.set_headers(found)
    return found
